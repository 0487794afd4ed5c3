"""What an answer that is stored teaches: as a miss, as an audited hit, or nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from libs.background import Background
from libs.errors import Reason, TokenwayError
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from libs.testing.labels import InMemoryLabels
from libs.testing.vector_index import InMemoryIndex
from services.cache.domain.calibration import NOTHING_IS_NEAR, Label, Measure, Sampling
from services.cache.domain.demand import Demand
from services.cache.domain.key import AnswerKey
from services.cache.domain.labelling import Labelling
from services.cache.domain.model import Question, StoredAnswer, Tier
from services.cache.domain.ports import IndexEntry
from services.cache.domain.semantic import Candidate, Surroundings
from tests.contract.answer_stores import in_memory, key
from tests.unit.cache.questions import question

FRESH = in_memory().answer("Paris.")


def candidate(name: str, score: float, *, objection: str | None = None, family: str = "") -> Candidate:
    """One whose cosine and share of the votes are the same number. Its answer's text is its name."""
    answer = in_memory().answer(name)
    return Candidate(key(name), answer, score, objection, score, key(family or name).digest)


class World:
    """One stored answer at some cosine, a threshold, and whether the answers are the same."""

    def __init__(self, *, cosine: float | None, threshold: float = 0.9, audited: bool = False) -> None:
        self.others = [] if cosine is None else [candidate("other", cosine)]
        self.asks, self.audited = Demand(threshold), audited
        self.measure = Measure.COSINE
        # By the text of the other answer; else `verdict`.
        self.verdicts: dict[str, bool | None] = {}
        self.compared: list[str] = []
        self.labels = InMemoryLabels()
        self.clock = ManualClock()
        self.verdict: bool | None = True
        self.index = InMemoryIndex(max_entries=10, clock=self.clock)
        self.answers = InMemoryAnswers(clock=self.clock, index=self.index)
        self.looked = 0
        self.may_look: asyncio.Event | None = None

    async def near(
        self, question: Question, tier: Tier, *, limit: int, without: AnswerKey | None = None
    ) -> Surroundings:
        assert without == key("q")
        self.looked += 1
        if self.may_look is not None:
            await self.may_look.wait()
        return Surroundings("", self.asks, tuple(self.others[:limit]))

    def demand(self, organisation: str, tier: Tier) -> Demand:
        return self.asks

    def audits(self, key: AnswerKey) -> bool:
        return self.audited

    false_equal = 0.0

    async def same(self, fresh: StoredAnswer, stored: StoredAnswer) -> bool | None:
        self.compared.append(name := "".join(stored.whole.text))
        return self.verdicts.get(name, self.verdict)

    async def family(self) -> bytes:
        """Of the fresh answer, afterwards."""
        return next(each.family for each in self.index._entries.values() if each.key == key("q"))

    async def learnt(self, *, answers: int = 1) -> dict[Label, int]:
        """From so many answers at once."""
        await self.answers.put(key("q"), FRESH)
        self.index.put(IndexEntry(key("q"), bytes(32), b"", FRESH.expires_at))
        async with Background(drain_seconds=1) as background:
            labelling = Labelling(
                semantic=self,
                answers=self.answers,
                verifier=self,
                thresholds=self,
                labels=self.labels,
                background=background,
                clock=self.clock,
            )
            for _ in range(answers):
                labelling.stored(question(), Tier.BALANCED, key("q"), FRESH)
            if self.may_look is not None:
                await asyncio.sleep(0)
                self.may_look.set()
        return dict((await self.labels.learnt("acme", self.measure, wrong_share=0.05)).tally)


async def test_a_miss_says_whether_the_nearest_answer_would_have_been_right() -> None:
    world = World(cosine=0.834)
    assert await world.learnt() == {Label(Sampling.BELOW, 83, wrong=False): 1}
    world.verdict = False
    assert (await world.learnt())[Label(Sampling.BELOW, 83, wrong=True)] == 1


async def test_an_audited_hit_says_it_too() -> None:
    assert await World(cosine=0.934, audited=True).learnt() == {Label(Sampling.EVEN, 93, wrong=False): 1}


async def test_a_hit_that_was_only_shed_teaches_nothing() -> None:
    """Else a busy cache would sample hits more often than it knows."""
    assert await World(cosine=0.934).learnt() == {}


async def test_while_nothing_is_near_enough_every_label_was_as_likely() -> None:
    assert await World(cosine=0.934, threshold=2).learnt() == {Label(Sampling.EVEN, 93, wrong=False): 1}


@pytest.mark.parametrize("cosine", [None, 0.3])
async def test_where_nothing_is_near_there_is_nothing_to_learn(cosine: float | None) -> None:
    assert await World(cosine=cosine).learnt() == {}


async def test_what_the_verifier_cannot_tell_is_no_label() -> None:
    world = World(cosine=0.834)
    world.verdict = None
    assert await world.learnt() == {}


async def test_what_the_guard_objects_to_would_have_been_no_hit() -> None:
    world = World(cosine=0.934, audited=True)
    world.others = [candidate("other", 0.934, objection="names"), candidate("further", 0.92)]
    assert await world.learnt() == {}
    assert not world.compared


def by_votes(*others: Candidate, least: float = 0.9, cosine: float = 0, audited: bool = False) -> World:
    """A calibrated organisation's."""
    world = World(cosine=None, audited=audited)
    world.asks, world.measure, world.others = Demand(cosine, least), Measure.VOTES, list(others)
    return world


async def test_by_votes_a_label_is_of_the_nearest_that_is_not_contradicted() -> None:
    world = by_votes(candidate("other", 0.95, objection="negation"), candidate("further", 0.7, objection="names"))
    world.verdicts = {"further": False}
    assert await world.learnt() == {Label(Sampling.BELOW, 70, wrong=True): 1}


async def test_by_votes_an_answer_joins_the_family_of_the_nearest_that_is_the_same() -> None:
    world = by_votes(candidate("a", 0.8), candidate("b", 0.7, family="b's"), candidate("c", 0.6))
    world.verdicts = {"a": False, "b": True}
    assert await world.learnt() == {Label(Sampling.BELOW, 80, wrong=True): 1}
    assert (world.compared, await world.family()) == (["a", "b"], key("b's").digest)


async def test_of_each_family_one_is_compared() -> None:
    world = by_votes(candidate("a", 0.8), candidate("b", 0.7, family="a"), candidate("c", 0.6))
    world.verdict = False
    await world.learnt()
    assert (world.compared, await world.family()) == (["a", "c"], b"")


async def test_what_is_contradicted_or_was_only_shed_is_no_label_and_may_be_family() -> None:
    for world in (by_votes(candidate("a", 0.95, objection="order")), by_votes(candidate("a", 0.95))):
        assert await world.learnt() == {}
        assert await world.family() == key("a").digest


async def test_a_hit_that_no_share_of_votes_could_make_is_no_label() -> None:
    assert await by_votes(candidate("a", 0.85), least=NOTHING_IS_NEAR, cosine=0.95).learnt() == {}
    audited = by_votes(candidate("a", 0.97), cosine=0.95, audited=True)
    assert await audited.learnt() == {Label(Sampling.EVEN, 97, wrong=False): 1}


async def test_by_cosine_nobody_has_a_family() -> None:
    world = World(cosine=0.834)
    await world.learnt()
    assert await world.family() == b""


async def test_under_load_answers_teach_nothing_and_wait_for_nothing() -> None:
    world = World(cosine=0.834)
    world.may_look = asyncio.Event()
    await world.learnt(answers=20)
    assert world.looked == 1


async def test_labels_leave_the_encoder_time_for_lookups() -> None:
    world = World(cosine=0.834)
    async with Background(drain_seconds=1) as background:
        labelling = Labelling(
            semantic=world,
            answers=world.answers,
            verifier=world,
            thresholds=world,
            labels=world.labels,
            background=background,
            clock=world.clock,
        )
        for _ in range(20):
            labelling.stored(question(), Tier.BALANCED, key("q"), FRESH)
            await asyncio.sleep(0.001)
            world.clock.advance(0.05)
    assert world.looked == 4


async def test_labels_that_cannot_be_written_are_lost_and_nothing_else() -> None:
    world = World(cosine=0.834)
    world.labels.error = TokenwayError(Reason.SERVICE_UNAVAILABLE, "away")
    async with Background(drain_seconds=1) as background:
        labelling = Labelling(
            semantic=world,
            answers=world.answers,
            verifier=world,
            thresholds=world,
            labels=world.labels,
            background=background,
            clock=world.clock,
        )
        labelling.stored(question(), Tier.BALANCED, key("q"), replace(FRESH))
        await asyncio.sleep(0.01)
        world.labels.error = None
        world.clock.advance(1)
        labelling.stored(question(), Tier.BALANCED, key("q"), FRESH)
    assert sum((await world.labels.learnt("acme", world.measure, wrong_share=0.05)).tally.values()) == 1
