"""The loop of a chore, without waiting for it."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from libs.testing.ledger import InMemoryLedger
from services.budget.domain.chore import Chore
from services.budget.domain.errors import budget_unavailable
from services.budget.domain.ports import Swept


class CountingLedger(InMemoryLedger):
    """Counts its sweeps, of which the first fails."""

    sweeps = 0

    async def sweep(self) -> Swept:
        self.sweeps += 1
        if self.sweeps == 1:
            raise budget_unavailable("Redis is away")
        return await super().sweep()


async def test_it_is_done_once_a_period_and_outlives_a_redis_that_is_away() -> None:
    ledger, slept, ended = CountingLedger(), list[float](), list[str]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3:
            raise asyncio.CancelledError

    with capture_logs() as lines, pytest.raises(asyncio.CancelledError):
        await Chore("a sweep", ledger.sweep, period_seconds=5, on_end=ended.append, sleep=sleep).run()

    assert slept == [5, 5, 5, 5]
    assert ledger.sweeps == 3
    assert ended == ["failed", "done", "done"]
    assert [line["event"] for line in lines] == ["a sweep failed"]
