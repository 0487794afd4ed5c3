"""A lookup finds what was stored for the same question, and says how it ended."""

from __future__ import annotations

import asyncio

import pytest

from libs.errors import Reason, TokenwayError
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from services.cache.domain.eligibility import BypassReason
from services.cache.domain.fill import Fill
from services.cache.domain.key import AnswerKey
from services.cache.domain.lookup import Bypass, Hit, Lookup, Miss
from services.cache.domain.model import StoredAnswer
from services.cache.domain.stats import Stats, Verdict
from tests.unit.cache.questions import STOP, asked, order, part, question, streamed


class Cache:
    """A Lookup over an empty store."""

    def __init__(self) -> None:
        self.clock, self.stats = ManualClock(), Stats()
        self.answers = InMemoryAnswers(clock=self.clock)
        self.lookup = Lookup(answers=self.answers, clock=self.clock, stats=self.stats)

    async def fill(self) -> None:
        fill = Fill(
            answers=self.answers, clock=self.clock, stats=self.stats, chance=lambda: 0.5, max_answer_bytes=1_000
        )
        await fill.store(streamed(order(), part("Hi"), STOP))


@pytest.fixture
def cache() -> Cache:
    return Cache()


async def test_a_stored_answer_is_a_hit_with_its_age(cache: Cache) -> None:
    await cache.fill()
    cache.clock.advance(7)
    found = await cache.lookup.find(question())
    assert isinstance(found, Hit)
    assert (found.age_seconds, found.answer.whole) == (7, part("Hi"))


async def test_an_answer_from_a_clock_that_runs_ahead_is_not_older_than_now(cache: Cache) -> None:
    await cache.fill()
    cache.clock.advance(-3)
    found = await cache.lookup.find(question())
    assert isinstance(found, Hit)
    assert found.age_seconds == 0


async def test_another_question_is_a_miss(cache: Cache) -> None:
    await cache.fill()
    for other in (question(asked("Bye")), question(organisation="globex"), question(model="large")):
        assert await cache.lookup.find(other) == Miss()


async def test_what_may_not_be_cached_is_not_looked_for(cache: Cache) -> None:
    cache.answers.error = AssertionError("was asked")
    assert await cache.lookup.find(question(asked(temperature=1))) == Bypass(BypassReason.TEMPERATURE)


async def test_every_lookup_is_counted_for_its_organisation_and_for_all(cache: Cache) -> None:
    await cache.fill()
    for asks in (question(), question(asked("Bye")), question(asked(temperature=1))):
        await cache.lookup.find(asks)
    await cache.lookup.find(question(organisation="globex"))
    assert cache.stats.counts("acme").lookups == {Verdict.HIT: 1, Verdict.MISS: 1, Verdict.BYPASS: 1}
    assert cache.stats.counts("nobody").lookups == {}
    assert cache.stats.counts().cacheable_lookups == 3
    assert cache.stats.counts().hit_rate == pytest.approx(1 / 3)


async def test_a_store_that_is_away_is_a_failed_lookup(cache: Cache) -> None:
    cache.answers.error = TokenwayError(Reason.SERVICE_UNAVAILABLE, "away")
    with pytest.raises(TokenwayError, match="away"):
        await cache.lookup.find(question())
    assert cache.stats.counts().lookups == {Verdict.FAILED: 1}
    assert cache.stats.counts().hit_rate == 0


class Frozen(InMemoryAnswers):
    """Never answers."""

    async def get(self, key: AnswerKey) -> StoredAnswer | None:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def test_a_caller_that_stops_waiting_is_counted_as_failed() -> None:
    clock, stats = ManualClock(), Stats()
    lookup = Lookup(answers=Frozen(clock=clock), clock=clock, stats=stats)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await lookup.find(question())
    assert stats.counts().lookups == {Verdict.FAILED: 1}


def test_before_the_first_lookup_the_hit_rate_is_zero() -> None:
    assert Stats().counts().hit_rate == 0
