"""What every Encoder must do."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Iterator

import pytest

from libs.testing.encoder import WordCounter
from services.cache.domain.ports import Embedding, Encoder
from services.cache.domain.remembered import RememberedEmbeddings
from tests.contract.encoders import cosine, onnx_encoder

PARIS, RETURNS = "What is the capital of France?", "How long do I have to return a jacket?"


@pytest.fixture(scope="module", params=["words", "onnx", "remembered"])
def encoder(request: pytest.FixtureRequest) -> Iterator[Encoder]:
    if request.param == "words":
        yield WordCounter()
        return
    with onnx_encoder() as real:
        yield RememberedEmbeddings(real) if request.param == "remembered" else real


async def test_a_vector_has_the_length_1_and_the_dimensions_that_are_promised(encoder: Encoder) -> None:
    numbers = array("f", (await encoder.embed(PARIS)).vector)
    assert len(numbers) == encoder.dimensions
    assert math.hypot(*numbers) == pytest.approx(1, abs=1e-5)


async def test_a_text_has_one_vector_whatever_is_asked_between(encoder: Encoder) -> None:
    first = await encoder.embed(PARIS)
    await encoder.embed(RETURNS)
    assert await encoder.embed(PARIS) == first


async def test_the_nearer_the_meaning_the_nearer_the_vectors(encoder: Encoder) -> None:
    asked = await encoder.embed(PARIS)
    near, far = await encoder.embed("what is the capital of france"), await encoder.embed(RETURNS)
    assert cosine(asked, asked) == pytest.approx(1, abs=1e-5)
    assert cosine(asked, near) > 0.9
    assert cosine(asked, far) < 0.5


@pytest.mark.parametrize(("text", "tokens"), [("hello", 1), ("hello world", 2), ("the red car", 3)])
async def test_tokens_are_counted_without_the_marks_round_them(encoder: Encoder, text: str, tokens: int) -> None:
    assert (await encoder.embed(text)).tokens == tokens


async def test_a_text_that_fills_the_encoder_is_taken_in_and_one_token_more_is_not(encoder: Encoder) -> None:
    full, over = await encoder.embed("hello " * 256), await encoder.embed("hello " * 257)
    assert (full.tokens, len(full.vector)) == (256, 4 * encoder.dimensions)
    assert over == Embedding(b"", 257)


@pytest.mark.parametrize("text", ["", "  \n\t "])
async def test_a_text_without_a_token_is_like_no_other(encoder: Encoder, text: str) -> None:
    assert await encoder.embed(text) == Embedding(b"", 0)


@pytest.mark.parametrize("text", ["Zoë 🎈", "\x00\x01 ok", "\ud800 ok", "日本語の質問", "a" * 5_000])
async def test_odd_texts_are_no_errors(encoder: Encoder, text: str) -> None:
    assert (await encoder.embed(text)).tokens >= 1


async def test_of_many_at_once_each_gets_its_own(encoder: Encoder) -> None:
    texts = [PARIS, RETURNS, "hello world", PARIS, "the red car"]
    apart = [await encoder.embed(each) for each in texts]
    assert await asyncio.gather(*(encoder.embed(each) for each in texts)) == apart


async def test_who_leaves_changes_nothing_for_others_that_ask_the_same(encoder: Encoder) -> None:
    leaving, staying = (asyncio.create_task(encoder.embed("a question of two")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).tokens == 4


async def test_a_fingerprint_is_there_and_fits_a_key(encoder: Encoder) -> None:
    assert encoder.fingerprint
    assert encoder.fingerprint.isalnum()
