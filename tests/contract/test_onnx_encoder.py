"""What only the real encoder can get wrong: its files, its queue, what its vocabulary lacks."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from libs import minilm
from libs.errors import TokenwayError
from services.cache.adapters.onnx_encoder import OnnxEncoder
from services.cache.domain.ports import EncoderBusyError
from tests.contract.encoders import cosine, onnx_encoder

LONG = "what does this policy say about it? " * 25


async def test_meaning_counts_and_not_only_words() -> None:
    with onnx_encoder() as encoder:
        asked = await encoder.embed("How do I reset my password?")
        near = await encoder.embed("I forgot my password, how can I change it?")
        far = await encoder.embed("How do I cook my rice?")
    assert cosine(asked, near) > 0.8
    assert cosine(asked, far) < 0.3


async def test_its_vectors_are_those_that_were_measured() -> None:
    """A CPU may round otherwise; another graph, another pooling or another tokenizer would show."""
    with onnx_encoder() as encoder:
        paris, rome = await encoder.embed("What is the capital of France?"), await encoder.embed("Rome is in Italy.")
    assert cosine(paris, rome) == pytest.approx(0.356, abs=0.02)


@pytest.mark.parametrize("text", ["thanks 🎈 for all", "x" * 101, "see \x1f600 ☸ here"])
async def test_a_text_with_something_that_the_vocabulary_lacks_is_like_no_other(text: str) -> None:
    with onnx_encoder() as encoder:
        embedding = await encoder.embed(text)
    assert (embedding.vector, embedding.tokens > 0) == (b"", True)


async def test_what_would_wait_too_long_is_refused_at_once_and_what_waits_already_is_not() -> None:
    with onnx_encoder(queue_seconds=0.02) as encoder:
        answers = await asyncio.gather(*(encoder.embed(LONG) for _ in range(50)), return_exceptions=True)
        refused = [each for each in answers if isinstance(each, BaseException)]
        assert all(isinstance(each, EncoderBusyError) for each in refused)
        assert 0 < len(refused) < 50
        assert (await encoder.embed(LONG)).vector


async def test_who_leaves_the_queue_gives_its_place_back() -> None:
    with onnx_encoder(queue_seconds=0.02) as encoder:
        for _ in range(50):
            leaving = asyncio.create_task(encoder.embed(LONG))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)


async def test_the_event_loop_goes_on_while_a_text_is_embedded() -> None:
    turns = 0
    with onnx_encoder() as encoder:
        await encoder.embed("warm")
        embedding = asyncio.create_task(encoder.embed(LONG))
        while not embedding.done():
            turns += 1
            await asyncio.sleep(0)
    assert turns > 10


async def test_closing_lets_nobody_wait_for_ever() -> None:
    with onnx_encoder() as encoder:
        waiting = [asyncio.create_task(encoder.embed(LONG)) for _ in range(20)]
        await asyncio.sleep(0)
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert any(isinstance(each, asyncio.CancelledError) for each in ended)


def test_a_folder_without_the_encoder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(TokenwayError, match=r"model\.onnx cannot be read: No such file.*run `make model`"):
        OnnxEncoder(tmp_path)


@pytest.mark.parametrize("name", [minilm.MODEL, minilm.TOKENIZER])
def test_another_file_than_the_measured_one_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(minilm.encoder_folder(), folder)
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(TokenwayError, match=f"{name} has SHA-256 .*expected {minilm.SHA256[name]}"):
        OnnxEncoder(folder)
