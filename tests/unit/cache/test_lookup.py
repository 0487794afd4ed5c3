"""A lookup finds what was stored for the same question, and says how it ended."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from libs.errors import Reason, TokenwayError
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from services.cache.domain.eligibility import BypassReason
from services.cache.domain.fill import Fill
from services.cache.domain.flight import Follow, Lead
from services.cache.domain.found import Bypass, Found, Hit, Kind, LookupEvent, Miss, SemanticMiss
from services.cache.domain.key import AnswerKey
from services.cache.domain.lookup import Lookup
from services.cache.domain.model import Question, StoredAnswer, Tier
from services.cache.domain.stats import Stats, Verdict
from tests.unit.cache.questions import STOP, asked, order, part, question, streamed


async def told(lookup: Lookup, asks: Question, tier: Tier = Tier.EXACT) -> list[LookupEvent]:
    return [event async for event in lookup.events(asks, tier=tier)]


async def verdict(lookup: Lookup, asks: Question) -> Hit | Miss | Bypass | Lead | Follow:
    """The first event's."""
    first = (await told(lookup, asks))[0]
    assert isinstance(first, Found)
    return first.verdict


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
    found = await verdict(cache.lookup, question())
    assert isinstance(found, Hit)
    assert (found.age_seconds, found.answer.whole) == (7, part("Hi"))


async def test_an_answer_from_a_clock_that_runs_ahead_is_not_older_than_now(cache: Cache) -> None:
    await cache.fill()
    cache.clock.advance(-3)
    found = await verdict(cache.lookup, question())
    assert isinstance(found, Hit)
    assert found.age_seconds == 0


async def test_another_question_is_a_miss(cache: Cache) -> None:
    await cache.fill()
    for other in (question(asked("Bye")), question(organisation="globex"), question(model="large")):
        assert await verdict(cache.lookup, other) == Miss()


async def test_what_may_not_be_cached_is_not_looked_for(cache: Cache) -> None:
    cache.answers.error = AssertionError("was asked")
    assert await verdict(cache.lookup, question(asked(temperature=1))) == Bypass(BypassReason.TEMPERATURE)


async def test_every_lookup_is_counted_for_its_organisation_and_for_all(cache: Cache) -> None:
    await cache.fill()
    for asks in (question(), question(asked("Bye")), question(asked(temperature=1))):
        await verdict(cache.lookup, asks)
    await verdict(cache.lookup, question(organisation="globex"))
    assert cache.stats.counts("acme").lookups == {Verdict.HIT: 1, Verdict.MISS: 1, Verdict.BYPASS: 1}
    assert cache.stats.counts("nobody").lookups == {}
    assert cache.stats.counts().cacheable_lookups == 3
    assert cache.stats.counts().hit_rate == pytest.approx(1 / 3)


async def test_a_store_that_is_away_is_a_failed_lookup(cache: Cache) -> None:
    cache.answers.error = TokenwayError(Reason.SERVICE_UNAVAILABLE, "away")
    with pytest.raises(TokenwayError, match="away"):
        await verdict(cache.lookup, question())
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
            await verdict(lookup, question())
    assert stats.counts().lookups == {Verdict.FAILED: 1}


def test_before_the_first_lookup_the_hit_rate_is_zero() -> None:
    assert Stats().counts().hit_rate == 0


class Like:
    """A SemanticTier that finds what it is told, as soon as `ready` is set; it looks for what is not exact."""

    def __init__(self, found: Hit | SemanticMiss) -> None:
        self.found, self.ready = found, asyncio.Event()
        self.ready.set()
        self.looking = self.asked = 0

    def looks(self, question: Question, tier: Tier) -> bool:
        self.asked += 1
        return tier > Tier.EXACT

    async def find(self, question: Question, tier: Tier) -> Hit | SemanticMiss:
        self.looking += 1
        try:
            await self.ready.wait()
        finally:
            self.looking -= 1
        return self.found


async def with_semantic(cache: Cache, found: SemanticMiss | None = None, *, seconds: float = 60) -> Like:
    """The cache, and behind its misses a tier that finds the stored answer or does not."""
    await cache.fill()
    stored = await verdict(cache.lookup, question())
    assert isinstance(stored, Hit)
    like = Like(found or replace(stored, kind=Kind.SEMANTIC, similarity=0.97, threshold=0.9))
    cache.lookup = Lookup(
        answers=cache.answers, clock=cache.clock, stats=cache.stats, semantic=like, semantic_seconds=seconds
    )
    return like


OTHER = question(asked("Bye"))
# Nothing was dropped yet.
AS_OF = 1


async def test_a_miss_says_that_the_semantic_tier_is_looking_before_it_has_found_anything(cache: Cache) -> None:
    like = await with_semantic(cache)
    like.ready.clear()
    async with aclosing(cache.lookup.events(OTHER, tier=Tier.STRICT)) as events:
        assert await anext(events) == Found(Miss(), semantic_pending=True, as_of=AS_OF)
        like.ready.set()
        assert await anext(events) == Found(like.found)  # type: ignore[arg-type]  # a hit
        assert [event async for event in events] == []
    assert cache.stats.counts().lookups[Verdict.HIT] == 2


async def test_an_exact_hit_does_not_wait_to_hear_whether_the_semantic_tier_may_look(cache: Cache) -> None:
    like = await with_semantic(cache)
    assert isinstance(await verdict(cache.lookup, question()), Hit)
    assert like.asked == 0


async def test_it_looks_while_the_first_verdict_is_on_its_way_and_not_for_who_leaves(cache: Cache) -> None:
    like = await with_semantic(cache)
    like.ready.clear()
    async with aclosing(cache.lookup.events(OTHER, tier=Tier.STRICT)) as events:
        await anext(events)
        await asyncio.sleep(0)
        assert like.looking == 1
    assert like.looking == 0


async def test_where_the_semantic_tier_has_nothing_the_exact_verdict_is_repeated_with_its_reason(cache: Cache) -> None:
    nothing = SemanticMiss("guard", 0.9)
    await with_semantic(cache, nothing)
    assert await told(cache.lookup, OTHER, Tier.STRICT) == [
        Found(Miss(), semantic_pending=True, as_of=AS_OF),
        Found(Miss(), semantic=nothing, as_of=AS_OF),
    ]
    assert cache.stats.counts().lookups[Verdict.MISS] == 1


async def test_a_semantic_tier_that_takes_too_long_is_not_waited_for(cache: Cache) -> None:
    like = await with_semantic(cache, seconds=0)
    like.ready.clear()
    _, second = await told(cache.lookup, OTHER, Tier.STRICT)
    assert second == Found(Miss(), semantic=SemanticMiss("late"), as_of=AS_OF)


async def test_a_caller_that_does_not_wait_for_the_semantic_tier_had_a_miss(cache: Cache) -> None:
    like = await with_semantic(cache)
    like.ready.clear()
    async with aclosing(cache.lookup.events(OTHER, tier=Tier.STRICT)) as events:
        await anext(events)
    assert cache.stats.counts().lookups[Verdict.MISS] == 1


@pytest.mark.parametrize(
    ("asks", "tier"), [(question(), Tier.STRICT), (OTHER, Tier.EXACT), (question(asked(temperature=1)), Tier.STRICT)]
)
async def test_the_semantic_tier_is_asked_for_misses_alone_where_it_may_look(
    cache: Cache, asks: Question, tier: Tier
) -> None:
    like = await with_semantic(cache)
    like.ready.clear()  # whoever waits for it hangs
    events = await told(cache.lookup, asks, tier)
    assert [each.semantic_pending for each in events if isinstance(each, Found)] == [False]
