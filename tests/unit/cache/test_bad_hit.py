"""What a report does when another comes at the same time, and when the store is away; the rest is tests/rpc's."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from libs.background import Background
from libs.errors import Reason, TokenwayError
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from libs.testing.labels import InMemoryLabels
from libs.testing.served_hits import InMemoryServedHits
from services.cache.domain.bad_hit import ReportBadHit
from services.cache.domain.calibration import Label, Measure, Sampling
from services.cache.domain.found import Kind
from services.cache.domain.hit_log import HitLog
from services.cache.domain.model import Principal
from services.cache.domain.served_hit import ServedHit
from services.cache.domain.stats import Stats
from tests.contract.answer_stores import in_memory, key

CI = Principal("acme", "ci")
HIT = ServedHit("req-2", "ci", key("q"), Kind.SEMANTIC, 0.93, 0.0, "req-1")


class World:
    """One semantic hit that was served and stored."""

    def __init__(self) -> None:
        self.answers = InMemoryAnswers(clock=ManualClock())
        self.served, self.labels, self.stats = InMemoryServedHits(), InMemoryLabels(), Stats()
        log = HitLog(served=self.served, background=Background(drain_seconds=1))
        self.reports = ReportBadHit(answers=self.answers, log=log, stats=self.stats, labels=self.labels)

    async def hit(self) -> None:
        await self.answers.put(key("q"), in_memory().answer())
        await self.served.remember([HIT])

    async def report(self) -> bool:
        return await self.reports.report(CI, "req-2", of_anyone=False)

    async def labels_and_reports(self) -> tuple[int, int]:
        learnt = await self.labels.learnt("acme", Measure.COSINE, wrong_share=0.05)
        return sum(learnt.tally.values()), self.stats.counts("acme").reported


@pytest.mark.parametrize(("votes", "measure", "step"), [(0.0, Measure.COSINE, 93), (0.71, Measure.VOTES, 71)])
async def test_a_report_teaches_by_what_the_hit_was_chosen(votes: float, measure: Measure, step: int) -> None:
    world = World()
    await world.answers.put(key("q"), in_memory().answer())
    await world.served.remember([replace(HIT, votes=votes)])
    await world.report()
    tallies = [(await world.labels.learnt("acme", each, wrong_share=0.05)).tally for each in Measure]
    assert tallies == [{Label(Sampling.EVEN, step, wrong=True): 1} if each is measure else {} for each in Measure]


async def test_two_reports_at_once_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    world, find = World(), InMemoryServedHits.find
    await world.hit()

    async def slow(self: InMemoryServedHits, organisation: str, request_id: str) -> ServedHit | None:
        found = await find(self, organisation, request_id)
        await asyncio.sleep(0)
        return found

    monkeypatch.setattr(InMemoryServedHits, "find", slow)
    assert sorted(await asyncio.gather(world.report(), world.report())) == [False, True]
    assert await world.labels_and_reports() == (1, 1)


async def test_a_report_that_failed_may_be_said_again() -> None:
    world = World()
    await world.hit()
    world.answers.error = TokenwayError(Reason.SERVICE_UNAVAILABLE, "away")
    with pytest.raises(TokenwayError):
        await world.report()
    world.answers.error = None
    assert await world.report()
    assert await world.labels_and_reports() == (1, 1)
