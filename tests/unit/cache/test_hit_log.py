"""Hits are remembered in the background, many at once, and never at the cost of a hit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from libs.background import Background
from libs.errors import Reason, TokenwayError
from libs.testing.served_hits import InMemoryServedHits
from services.cache.domain.found import Found, Hit, SharedPieces
from services.cache.domain.hit_log import HitLog
from services.cache.domain.model import Principal, StoredAnswer
from services.cache.domain.served_hit import ServedHit
from tests.contract.answer_stores import in_memory, key

CI = Principal("acme", "ci")


class Counting(InMemoryServedHits):
    """Also counts the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[int] = []

    async def remember(self, hits: Sequence[ServedHit]) -> None:
        self.writes.append(len(hits))
        await super().remember(hits)


class Slow(InMemoryServedHits):
    """Tells when it writes, and writes when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.may_write = asyncio.Event(), asyncio.Event()

    async def remember(self, hits: Sequence[ServedHit]) -> None:
        self.writing.set()
        await self.may_write.wait()
        await super().remember(hits)


def answer() -> StoredAnswer:
    return in_memory().answer()


async def test_many_hits_are_one_write() -> None:
    served, may_write = Counting(), asyncio.Event()
    async with Background(drain_seconds=1) as background:
        log = HitLog(served=served, background=background, pause=lambda _: _wait(may_write))
        for number in range(5):
            log.heard(Found(Hit(answer(), 0, key=key("q"))), CI, f"req-{number}")
        await asyncio.sleep(0)
        assert served.writes == []
        may_write.set()
    assert served.writes == [5]


async def test_a_hit_that_is_not_written_yet_is_found() -> None:
    served, never = Counting(), asyncio.Event()
    async with Background(drain_seconds=0.01) as background:
        log = HitLog(served=served, background=background, pause=lambda _: _wait(never))
        log.heard(Found(Hit(answer(), 0, key=key("q"))), CI, "req-1")
        found = await log.find("acme", "req-1")
        foreign = await log.find("globex", "req-1")
    assert found is not None
    assert (found.key, found.key_id, foreign) == (key("q"), "ci", None)


async def test_a_hit_that_is_just_being_written_is_found() -> None:
    served = Slow()
    async with Background(drain_seconds=1) as background:
        log = HitLog(served=served, background=background, pause=lambda _: asyncio.sleep(0))
        log.heard(Found(Hit(answer(), 0, key=key("q"))), CI, "req-1")
        await served.writing.wait()
        finding = asyncio.create_task(log.find("acme", "req-1"))
        await asyncio.sleep(0)
        served.may_write.set()
        assert await finding is not None


async def test_what_is_too_much_or_cannot_be_written_is_forgotten() -> None:
    served = Counting()
    async with Background(drain_seconds=1) as background:
        log = HitLog(served=served, background=background, most=2, pause=lambda _: asyncio.sleep(0))
        served.error = TokenwayError(Reason.SERVICE_UNAVAILABLE, "away")
        for number in range(3):
            log.heard(Found(Hit(answer(), 0, key=key("q"))), CI, f"req-{number}")
        await asyncio.sleep(0.01)
        served.error = None
        log.heard(Found(Hit(answer(), 0, key=key("q"))), CI, "req-9")
    assert served.writes == [2, 1]
    assert await log.find("acme", "req-9") is not None


async def test_only_hits_are_remembered() -> None:
    served = Counting()
    async with Background(drain_seconds=1) as background:
        log = HitLog(served=served, background=background)
        log.heard(SharedPieces(b""), CI, "req-1")
    assert served.writes == []


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
