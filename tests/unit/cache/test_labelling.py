"""What an answer that is stored teaches: as a miss, as an audited hit, or nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from libs.background import Background
from libs.errors import Reason, TokenwayError
from libs.testing.clock import ManualClock
from libs.testing.labels import InMemoryLabels
from services.cache.domain.calibration import Label, Sampling
from services.cache.domain.key import AnswerKey
from services.cache.domain.labelling import Labelling
from services.cache.domain.model import Question, StoredAnswer, Tier
from services.cache.domain.semantic import Candidate, Surroundings
from tests.contract.answer_stores import in_memory, key
from tests.unit.cache.questions import question

FRESH = in_memory().answer("Paris.")


class World:
    """One stored answer at some cosine, a threshold, and whether the answers are the same."""

    def __init__(self, *, cosine: float | None, threshold: float = 0.9, audited: bool = False) -> None:
        self.cosine, self.least, self.audited = cosine, threshold, audited
        self.labels = InMemoryLabels()
        self.clock = ManualClock()
        self.verdict: bool | None = True
        self.objection: str | None = None
        self.looked = 0
        self.may_look: asyncio.Event | None = None

    async def near(self, question: Question, tier: Tier, *, limit: int) -> Surroundings:
        """The answer itself is its own nearest neighbour."""
        self.looked += 1
        if self.may_look is not None:
            await self.may_look.wait()
        others = [] if self.cosine is None else [Candidate(key("other"), FRESH, self.cosine, self.objection)]
        return Surroundings("", self.least, (Candidate(key("q"), FRESH, 1.0, None), *others))

    def threshold(self, organisation: str, tier: Tier) -> float:
        return self.least

    def audits(self, key: AnswerKey) -> bool:
        return self.audited

    false_equal = 0.0

    async def same(self, fresh: StoredAnswer, stored: StoredAnswer) -> bool | None:
        return self.verdict

    async def learnt(self, *, answers: int = 1) -> dict[Label, int]:
        """From so many answers at once."""
        async with Background(drain_seconds=1) as background:
            labelling = Labelling(
                semantic=self,
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
        return dict((await self.labels.learnt("acme", wrong_share=0.05)).tally)


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
    world.objection = "numbers"
    assert await world.learnt() == {}


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
    assert sum((await world.labels.learnt("acme", wrong_share=0.05)).tally.values()) == 1
