"""What is embedded twice, and what is not."""

from __future__ import annotations

import asyncio

import pytest

from libs.testing.encoder import WordCounter
from services.cache.domain.ports import Embedding, EncoderBusyError
from services.cache.domain.remembered import RememberedEmbeddings


class Gated(WordCounter):
    """Embeds when `gate` opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def embed(self, text: str) -> Embedding:
        await self.gate.wait()
        return await super().embed(text)


async def test_the_same_text_is_embedded_once() -> None:
    words = WordCounter()
    remembered = RememberedEmbeddings(words)
    assert [await remembered.embed(text) for text in ("a b", "a b", "b c", "a b")]
    assert words.asked == ["a b", "b c"]


async def test_the_text_that_was_asked_longest_ago_is_forgotten_first() -> None:
    words = WordCounter()
    remembered = RememberedEmbeddings(words, most=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        await remembered.embed(text)
    assert words.asked == ["a", "b", "c", "b"]


async def test_all_who_ask_for_a_text_at_once_wait_for_one_embedding() -> None:
    gated = Gated()
    remembered = RememberedEmbeddings(gated)
    asking = [asyncio.create_task(remembered.embed("a b")) for _ in range(100)]
    await asyncio.sleep(0)
    asking[0].cancel()
    gated.gate.set()
    assert len({each.vector for each in await asyncio.gather(*asking[1:])}) == 1
    assert gated.asked == ["a b"]


async def test_a_refusal_reaches_all_who_wait_and_is_not_remembered() -> None:
    words = WordCounter()
    words.busy = True
    remembered = RememberedEmbeddings(words)
    refused = await asyncio.gather(*(remembered.embed("a") for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in refused] == [EncoderBusyError] * 3
    words.busy = False
    assert (await remembered.embed("a")).tokens == 1


async def test_a_refusal_that_nobody_waits_for_any_more_is_no_lost_error(caplog: pytest.LogCaptureFixture) -> None:
    gated = Gated()
    gated.busy = True
    asking = asyncio.create_task(RememberedEmbeddings(gated).embed("a"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    gated.gate.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not caplog.records
