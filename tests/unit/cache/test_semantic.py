"""The semantic tier answers what asks the same in other words, and nothing else; the store has the last word."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.generation.question import Conversation, Message, Role, Text
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from libs.testing.encoder import WordCounter
from libs.testing.thresholds import FixedThresholds
from libs.testing.vector_index import InMemoryIndex
from services.cache.domain.demand import Demand
from services.cache.domain.explain import Explain
from services.cache.domain.fill import Fill
from services.cache.domain.found import Hit, Kind, SemanticMiss
from services.cache.domain.key import exact_key
from services.cache.domain.meaning import Meanings
from services.cache.domain.model import Question, Tier
from services.cache.domain.selection import Everything
from services.cache.domain.semantic import Semantic
from services.cache.domain.stats import FillResult, SemanticResult, Stats
from tests.unit.cache.questions import STOP, asked, order, part, question, streamed

# Nineteen words of twenty are the same: cosine 0.95; and eighteen: 0.9. Words that only English has show the language.
WORDS = ["what", "the", "with", "this", "that", *(f"word{number}" for number in range(15))]
STORED = " ".join(WORDS)
NEAR = " ".join([*WORDS[:19], "other"])
LESS_NEAR = " ".join([*WORDS[:18], "third", "fourth"])
CODE = "for (int i = 0; i < n; i++) { total += values[i]; }"
FAR = " ".join([*WORDS[:10], *(f"other{number}" for number in range(10))])


def asks(text: str, **fields: Any) -> Question:
    return question(asked(text), **fields)


class Tried:
    """The tier over fakes, and a Fill that feeds it. `objection` is the lexical guard's."""

    def __init__(self) -> None:
        self.clock, self.stats = ManualClock(), Stats()
        self.encoder, self.thresholds = WordCounter(), FixedThresholds()
        self.objection: str | None = None
        # Of one stored question alone, where it is there.
        self.objections: dict[str, str] = {}
        self.judged: list[tuple[str, str]] = []
        self.index = InMemoryIndex(max_entries=100, clock=self.clock)
        self.answers = InMemoryAnswers(clock=self.clock, index=self.index)
        meanings = Meanings(encoder=self.encoder)
        self.semantic = Semantic(
            answers=self.answers,
            index=self.index,
            meanings=meanings,
            guard=self._guard,
            thresholds=self.thresholds,
            clock=self.clock,
            stats=self.stats,
        )
        self.fill = Fill(
            answers=self.answers,
            clock=self.clock,
            stats=self.stats,
            chance=lambda: 0.5,
            max_answer_bytes=1_000,
            meanings=meanings,
        )

    async def store(self, text: str, *, tier: Tier = Tier.CALIBRATED, **fields: Any) -> None:
        given = replace(order(asks(text, **fields)), tier=tier)
        assert await self.fill.store(streamed(given, part(f"answer to {text[-12:]}"), STOP)) is FillResult.STORED

    async def result(self, text: str, tier: Tier = Tier.BALANCED, **fields: Any) -> SemanticResult:
        """What comes of it, which must also have been counted."""
        before = self.stats.counts().semantic.copy()
        found = await self.semantic.find(asks(text, **fields), tier)
        result = SemanticResult.HIT if isinstance(found, Hit) else SemanticResult(found.reason)
        assert self.stats.counts().semantic - before == {result: 1}
        return result

    def _guard(self, asked: str, stored: str) -> str | None:
        self.judged.append((asked, stored))
        return self.objections.get(stored, self.objection)


@pytest.fixture
def tried() -> Tried:
    return Tried()


async def test_a_question_in_other_words_gets_the_answer_and_how_near_it_is(tried: Tried) -> None:
    await tried.store(STORED)
    tried.clock.advance(5)
    found = await tried.semantic.find(asks(NEAR), Tier.BALANCED)
    assert isinstance(found, Hit)
    assert (found.kind, found.age_seconds, found.threshold) == (Kind.SEMANTIC, 5, 0.9)
    assert found.similarity == pytest.approx(0.95, abs=0.01)
    assert found.answer == await tried.answers.get(exact_key(asks(STORED)))


@pytest.mark.parametrize(
    ("text", "tier", "result"),
    [
        (LESS_NEAR, Tier.STRICT, SemanticResult.THRESHOLD),
        (FAR, Tier.CALIBRATED, SemanticResult.THRESHOLD),
        (NEAR, Tier.CALIBRATED, SemanticResult.HIT),
        (f"{STORED} {STORED}", Tier.STRICT, SemanticResult.HIT),
        ("two words", Tier.BALANCED, SemanticResult.TOO_SHORT),
        (STORED * 20, Tier.BALANCED, SemanticResult.NOT_EMBEDDED),
        (STORED, Tier.EXACT, SemanticResult.INELIGIBLE),
    ],
)
async def test_how_near_it_must_be_is_the_tier_s(tried: Tried, text: str, tier: Tier, result: SemanticResult) -> None:
    await tried.store(STORED)
    assert await tried.result(text, tier) is result


async def test_where_nothing_was_asked_there_is_nothing(tried: Tried) -> None:
    assert await tried.result(STORED) is SemanticResult.NONE


@pytest.mark.parametrize(
    "other",
    [
        {"organisation": "globex"},
        {"model": "large"},
        {"model_revision": "2"},
        {"adapter": "legal"},
        {"policy_version": "2"},
    ],
)
async def test_nothing_is_found_where_anything_else_differs(tried: Tried, other: dict[str, Any]) -> None:
    await tried.store(STORED)
    assert await tried.result(NEAR, **other) is SemanticResult.NONE


async def test_a_conversation_is_answered_from_one_with_the_same_history_alone(tried: Tried) -> None:
    def after(history: str, last: str) -> Question:
        said = Conversation((Message(Role.USER, (Text(history),)), Message(Role.USER, (Text(last),))))
        return question(replace(asked(), prompt=said))

    given = replace(order(after("Of cars.", STORED)), tier=Tier.BALANCED)
    await tried.fill.store(streamed(given, part("yes"), STOP))
    assert isinstance(await tried.semantic.find(after("Of cars.", NEAR), Tier.BALANCED), Hit)
    assert await tried.semantic.find(after("Of buses.", NEAR), Tier.BALANCED) == SemanticMiss("none", 0.9)


async def test_the_guard_judges_the_nearest_alone_and_its_veto_is_counted(tried: Tried) -> None:
    await tried.store(LESS_NEAR)
    await tried.store(STORED)
    tried.objection = "numbers"
    assert await tried.result(NEAR) is SemanticResult.GUARD
    assert tried.judged == [(NEAR, STORED)]
    assert tried.stats.vetoes == {"numbers": 1}


async def test_a_hit_that_is_audited_is_a_miss(tried: Tried) -> None:
    await tried.store(STORED)
    tried.thresholds.audit = True
    assert await tried.result(NEAR) is SemanticResult.AUDIT
    tried.objection = "numbers"
    assert await tried.result(NEAR) is SemanticResult.GUARD, "what would be no hit is not audited"


async def test_a_busy_encoder_costs_a_look_up_its_hit_and_an_answer_its_place_in_the_index_alone(tried: Tried) -> None:
    tried.encoder.busy = True
    await tried.store(STORED)
    assert await tried.result(NEAR) is SemanticResult.SHED
    tried.encoder.busy = False
    assert await tried.result(NEAR) is SemanticResult.NONE
    assert await tried.answers.get(exact_key(asks(STORED)))


async def test_an_answer_that_was_stored_for_its_own_question_is_found_by_no_other(tried: Tried) -> None:
    await tried.store(STORED, tier=Tier.EXACT)
    assert tried.encoder.asked == []
    assert await tried.result(NEAR) is SemanticResult.NONE


async def test_neither_is_one_that_was_put_anew_so(tried: Tried) -> None:
    await tried.store(STORED)
    await tried.store(STORED, tier=Tier.EXACT)
    assert len(tried.index) == 1
    assert await tried.result(NEAR) is SemanticResult.NONE
    assert len(tried.index) == 0


async def test_what_the_store_has_no_more_is_passed_over_and_forgotten(tried: Tried) -> None:
    await tried.store(LESS_NEAR)
    await tried.store(STORED)
    tried.answers._answers.pop(exact_key(asks(STORED)))
    found = await tried.semantic.find(asks(NEAR), Tier.BALANCED)
    assert isinstance(found, Hit)
    assert (found.answer.asked, len(tried.index)) == (LESS_NEAR, 1)


async def test_an_answer_of_another_partition_is_not_served_whatever_the_index_says(tried: Tried) -> None:
    await tried.store(STORED)
    key = exact_key(asks(STORED))
    stored = tried.answers._answers[key]
    tried.answers._answers[key] = replace(stored, partition=bytes(32))
    assert await tried.result(NEAR) is SemanticResult.NONE


async def test_what_was_dropped_is_not_found(tried: Tried) -> None:
    await tried.store(STORED)
    await tried.answers.drop("acme", Everything())
    assert await tried.result(NEAR) is SemanticResult.NONE


async def test_a_store_that_is_away_is_a_miss(tried: Tried) -> None:
    await tried.store(STORED)
    tried.answers.error = TokenwayError(Reason.SERVICE_UNAVAILABLE, "away")
    assert await tried.result(NEAR) is SemanticResult.FAILED


async def test_a_look_up_that_is_not_waited_for_is_counted_as_late(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(text: str) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(tried.encoder, "embed", never)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await tried.semantic.find(asks(NEAR), Tier.BALANCED)
    assert tried.stats.counts("acme").semantic == {SemanticResult.LATE: 1}


async def test_what_is_ineligible_is_neither_looked_up_nor_put_in_the_index_nor_embedded(tried: Tried) -> None:
    await tried.store(CODE)
    assert (len(tried.index), tried.encoder.asked) == (0, [])
    assert not tried.semantic.looks(asks(CODE), Tier.BALANCED)
    assert not tried.semantic.looks(asks(NEAR), Tier.EXACT)
    assert tried.semantic.looks(asks(NEAR), Tier.STRICT)


async def test_what_does_not_show_that_it_is_english_must_be_as_near_as_strict_demands(tried: Tried) -> None:
    foreign = [f"wort{number}" for number in range(20)]
    await tried.store(" ".join(foreign))
    almost = " ".join([*foreign[:18], "eins", "zwei"])
    found = await tried.semantic.find(asks(almost), Tier.CALIBRATED)
    assert found == SemanticMiss(SemanticResult.THRESHOLD, 0.95)


async def same(tried: Tried, text: str, as_text: str) -> None:
    """The answers to both were found the same."""
    [entry] = [each for each in tried.index._entries.values() if each.key == exact_key(asks(as_text))]
    await tried.answers.join(exact_key(asks(text)), entry.own_family)


async def test_a_calibrated_answer_needs_its_share_of_the_votes_however_near_it_is(tried: Tried) -> None:
    for text in (NEAR, LESS_NEAR):
        await tried.store(text)
    assert await tried.result(STORED, Tier.CALIBRATED) is SemanticResult.THRESHOLD
    assert await tried.result(STORED, Tier.STRICT) is SemanticResult.HIT
    await same(tried, LESS_NEAR, NEAR)
    found = await tried.semantic.find(asks(STORED), Tier.CALIBRATED)
    assert isinstance(found, Hit)
    assert (found.threshold, found.answer.asked) == (0.8, NEAR)
    assert 0.9 < found.votes < 1
    assert found.similarity == pytest.approx(0.95, abs=0.01)


async def test_a_hit_of_a_fixed_tier_has_no_votes(tried: Tried) -> None:
    await tried.store(STORED)
    found = await tried.semantic.find(asks(NEAR), Tier.BALANCED)
    assert isinstance(found, Hit)
    assert found.votes == 0


async def test_by_votes_the_guard_vetoes_contradictions_and_leaves_names_to_them(tried: Tried) -> None:
    await tried.store(STORED)
    tried.objection = "names"
    assert await tried.result(NEAR, Tier.CALIBRATED) is SemanticResult.HIT
    assert await tried.result(NEAR, Tier.BALANCED) is SemanticResult.GUARD
    tried.objection = "numbers"
    assert await tried.result(NEAR, Tier.CALIBRATED) is SemanticResult.GUARD
    assert tried.stats.vetoes == {"names": 1, "numbers": 1}


async def test_by_votes_the_nearest_that_is_not_contradicted_is_given(tried: Tried) -> None:
    for text in (NEAR, LESS_NEAR):
        await tried.store(text)
    await same(tried, LESS_NEAR, NEAR)
    tried.objections[NEAR] = "numbers"
    found = await tried.semantic.find(asks(STORED), Tier.CALIBRATED)
    assert isinstance(found, Hit)
    assert found.answer.asked == LESS_NEAR
    assert await tried.result(STORED, Tier.BALANCED) is SemanticResult.GUARD


async def test_what_is_near_may_be_told_as_if_one_answer_were_not_there(tried: Tried) -> None:
    for text in (STORED, LESS_NEAR):
        await tried.store(text)
    without = exact_key(asks(STORED))
    near = await tried.semantic.near(asks(STORED), Tier.CALIBRATED, limit=5, without=without)
    [one] = near.candidates
    assert one.answer.asked == LESS_NEAR
    assert one.votes > 0.9
    assert near.given == one


async def test_an_explanation_shows_what_is_near_and_counts_as_no_lookup(tried: Tried) -> None:
    for text in (FAR, STORED):
        await tried.store(text)
    tried.objection = "negation"
    explained = await Explain(answers=tried.answers, semantic=tried.semantic).explain(asks(NEAR), Tier.BALANCED)
    near = explained.surroundings
    assert (near.reason, near.demand) == ("", Demand(0.9))
    assert [each.answer.asked for each in near.candidates] == [STORED, FAR]
    assert [each.objection for each in near.candidates] == ["negation", "negation"]
    assert not tried.stats.counts().semantic
    assert not tried.stats.vetoes


async def test_an_explanation_says_that_what_would_be_a_hit_is_audited(tried: Tried) -> None:
    await tried.store(STORED)
    tried.thresholds.audit = True
    explain = Explain(answers=tried.answers, semantic=tried.semantic)
    audited, other = [(await explain.explain(asks(each), Tier.BALANCED)).surroundings for each in (NEAR, FAR)]
    assert (audited.reason, audited.demand, len(audited.candidates)) == ("audit", Demand(0.9), 1)
    assert other.reason == "", "it would be none"


@pytest.mark.parametrize(
    ("text", "tier", "reason"),
    [(NEAR, Tier.EXACT, "tier"), (CODE, Tier.STRICT, "code"), ("short", Tier.STRICT, "too_short")],
)
async def test_an_explanation_says_why_the_tier_may_not_look(tried: Tried, text: str, tier: Tier, reason: str) -> None:
    explained = await Explain(answers=tried.answers, semantic=tried.semantic).explain(asks(text), tier)
    assert (explained.surroundings.reason, explained.surroundings.demand) == (reason, Demand())


async def test_an_explanation_of_what_may_not_be_cached_says_that(tried: Tried) -> None:
    explain = Explain(answers=tried.answers, semantic=tried.semantic)
    sampled = question(asked(STORED, temperature=1))
    assert (await explain.explain(sampled, Tier.BALANCED)).surroundings.reason == "temperature"
    assert (await Explain(answers=tried.answers).explain(asks(STORED), Tier.BALANCED)).surroundings.reason == "off"
