"""What leaves the ledger is in the archive before, whatever the ledger is made of and whoever dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import redis

from libs.errors import TokenwayError
from libs.testing.clock import ManualClock
from libs.testing.valkey import RedisServer
from libs.testing.valkey_cluster import ValkeyCluster
from services.budget.adapters import redis_bookkeeper
from services.budget.domain.archive import OldReceipt
from services.budget.domain.errors import budget_unavailable
from services.budget.domain.receipt import Outcome
from tests.contract.ledgers import POLICY, Tried, in_memory, in_redis
from tests.contract.test_bookkeeper import ended, verified
from tests.contract.test_ledger import ADA, asked, settled, used

DAY = 86_400


class ListArchive:
    """Keeps in memory, or fails, or waits before it has kept."""

    def __init__(self) -> None:
        self.kept: list[OldReceipt] = []
        self.fails = False
        self.is_asked, self.always = asyncio.Event(), asyncio.Event()
        self.always.set()
        self.may_go_on = self.always

    async def keep(self, receipts: Sequence[OldReceipt]) -> None:
        self.is_asked.set()
        if self.fails:
            raise OSError("the disk is full")
        await self.may_go_on.wait()
        self.kept += receipts


@pytest.fixture
def archive() -> ListArchive:
    return ListArchive()


@pytest.fixture(
    params=["memory", "valkey_server", "redis_server", pytest.param("shared_cluster", marks=pytest.mark.cluster)]
)
async def tried(request: pytest.FixtureRequest, archive: ListArchive) -> AsyncIterator[Tried]:
    """Each ledger in turn, empty, with the archive."""
    if request.param == "memory":
        yield in_memory(POLICY, archive=archive)
        return
    server: RedisServer | ValkeyCluster = request.getfixturevalue(request.param)
    server.flush()
    async with in_redis(server.url, POLICY, archive=archive) as found:
        yield found


async def test_what_leaves_the_ledger_is_archived_and_nothing_else(tried: Tried, archive: ListArchive) -> None:
    silent = asked()
    await tried.ledger.reserve(silent)
    tried.clock.advance(61)
    await tried.ledger.sweep()
    await tried.ledger.settle(settled(silent, used(5)))
    for _ in range(60):
        await ended(tried)
    old = tried.books.receipts("acme")
    tried.clock.advance(DAY)
    await ended(tried)
    tried.clock.advance(34 * DAY)

    assert await tried.bookkeeper.trim() == len(old) == 62

    assert [each.receipt for each in archive.kept] == old
    assert len({each.id for each in archive.kept}) == 62
    assert {each.principal for each in archive.kept} == {ADA}
    presumed, corrected, *settled_ones = archive.kept
    assert (presumed.receipt.outcome, corrected.receipt.outcome) == (Outcome.PRESUMED, Outcome.CORRECTED)
    # Only together are they what it cost.
    ((minute, held),), ((same, taken_back),) = presumed.money, corrected.money
    assert (minute, held, taken_back) == (same, 110, -95)
    assert {booked for each in settled_ones for _, booked in each.money} == {15}


async def test_what_cannot_be_archived_stays(tried: Tried, archive: ListArchive) -> None:
    await ended(tried)
    tried.clock.advance(36 * DAY)
    archive.fails = True

    with pytest.raises(OSError, match="full"):
        await tried.bookkeeper.trim()

    assert len(tried.books.receipts("acme")) == 1
    archive.fails = False
    assert await tried.bookkeeper.trim() == 1
    assert len(archive.kept) == 1


@pytest.fixture
def raw(redis_url: str) -> Iterator[Any]:
    """The server beneath the ledger."""
    with redis.Redis.from_url(redis_url, decode_responses=True, protocol=2) as client:
        yield client


@pytest.fixture
async def replicas(redis_url: str, archive: ListArchive) -> AsyncIterator[tuple[Tried, Tried]]:
    """Two on one Redis, with one archive."""
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(in_redis(redis_url, POLICY, archive=archive)) for _ in range(2)]
        yield one, other


async def test_two_replicas_archive_nothing_twice(
    replicas: tuple[Tried, Tried], archive: ListArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_bookkeeper, "_TRIMMED_A_STEP", 3)
    for _ in range(20):
        await ended(replicas[0])
    for each in replicas:
        each.clock.advance(36 * DAY)

    trimmed = await asyncio.gather(*(each.bookkeeper.trim() for each in replicas))

    assert sum(trimmed) == 20
    assert Counter(each.id for each in archive.kept).most_common(1)[0][1] == 1


async def test_who_is_overtaken_between_the_two_repeats_ids_and_trims_nothing(
    replicas: tuple[Tried, Tried], archive: ListArchive, raw: Any
) -> None:
    slow, quick = replicas
    await ended(slow)
    slow.clock.advance(36 * DAY)
    quick.clock.advance(36 * DAY)
    gate = archive.may_go_on = asyncio.Event()
    overtaken = asyncio.ensure_future(slow.bookkeeper.trim())
    await archive.is_asked.wait()
    async with asyncio.timeout(60):
        assert await quick.bookkeeper.trim() == 0
    raw.delete("tw:{acme}:archiving")  # its turn is over
    archive.may_go_on = archive.always

    trimmed = await quick.bookkeeper.trim()
    await ended(quick)
    slow.clock.advance(36 * DAY)  # by now that one is old, and in no archive
    gate.set()

    assert (trimmed, await overtaken) == (1, 0)
    assert [each.id for each in archive.kept] == [archive.kept[0].id] * 2
    assert (await verified(quick))[0] == []


async def test_an_organisation_that_asks_no_more_is_trimmed_too(redis_url: str, archive: ListArchive, raw: Any) -> None:
    wall_clock = ManualClock()
    async with in_redis(redis_url, POLICY, archive=archive, wall_clock=wall_clock) as tried:
        await ended(tried)
        for seconds in (2 * 3_600, 36 * DAY):
            wall_clock.advance(seconds)
            tried.clock.advance(seconds)
            await tried.ledger.sweep()
            assert raw.zscore("tw:organisations", "acme") is None

        assert await tried.bookkeeper.trim() == 1

    assert not raw.exists("{tw:organisations}:silent"), "and then it is looked at no longer"


async def test_an_organisation_that_cannot_be_trimmed_now_keeps_no_other_waiting(redis_url: str) -> None:
    class AwayForAcme(ListArchive):
        async def keep(self, receipts: Sequence[OldReceipt]) -> None:
            if receipts[0].principal.organisation == "acme":
                raise budget_unavailable("its primary is away")
            await super().keep(receipts)

    archive = AwayForAcme()
    async with in_redis(redis_url, POLICY, archive=archive) as tried:
        for organisation in ("acme", "umbrella"):
            await ended(tried, replace(ADA, organisation=organisation))
        tried.clock.advance(36 * DAY)

        with pytest.raises(TokenwayError, match="its primary is away"):
            await tried.bookkeeper.trim()

    assert [each.principal.organisation for each in archive.kept] == ["umbrella"]
