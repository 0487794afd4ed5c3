"""What each tier demands, and when labels are read."""

from __future__ import annotations

import asyncio
import hashlib

from libs.background import Background
from libs.errors import Reason, TokenwayError
from libs.testing.clock import ManualClock
from libs.testing.labels import InMemoryLabels
from services.cache.domain.calibration import AUDIT_SHARE, NOTHING_IS_NEAR, Calibration, Label, Measure, Sampling
from services.cache.domain.demand import Demand
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import Tier
from services.cache.domain.thresholds import LearntThresholds, SemanticPolicy, Standing

GOOD = Label(Sampling.EVEN, 85, wrong=False)


class World:
    """Thresholds of one organisation, with a clock and labels."""

    def __init__(self, background: Background, *, tier: Tier = Tier.CALIBRATED) -> None:
        self.labels, self.clock = InMemoryLabels(), ManualClock()
        policy = SemanticPolicy(tier, Calibration(wrong_share=0.05, false_equal=0))
        self.measure = policy.measure
        self.thresholds = LearntThresholds(
            labels=self.labels, policies={"acme": policy}, background=background, clock=self.clock
        )

    async def learn(self, label: Label, times: int) -> None:
        for _ in range(times):
            await self.labels.add("acme", self.measure, label)

    async def calibrated(self) -> float:
        """The share of votes that is demanded, once what was begun has ended."""
        self.thresholds.demand("acme", Tier.CALIBRATED)
        await asyncio.sleep(0)
        return self.thresholds.demand("acme", Tier.CALIBRATED).votes


async def test_the_fixed_tiers_demand_what_they_always_do() -> None:
    async with Background(drain_seconds=1) as background:
        thresholds = World(background, tier=Tier.BALANCED).thresholds
        demanded = [thresholds.demand("acme", tier) for tier in Tier]
    assert demanded == [Demand(NOTHING_IS_NEAR), Demand(0.95), Demand(0.9), Demand(NOTHING_IS_NEAR)]


async def test_no_tier_of_a_calibrated_organisation_demands_less_than_what_is_proven() -> None:
    async with Background(drain_seconds=1) as background:
        world = World(background)
        assert {world.thresholds.demand("acme", tier).votes for tier in Tier} == {NOTHING_IS_NEAR}
        await world.learn(GOOD, 300)
        world.clock.advance(5)
        proven = await world.calibrated()
        demanded = [world.thresholds.demand("acme", tier) for tier in Tier]
    assert proven == 0.6
    assert demanded == [Demand(least, proven) for least in (NOTHING_IS_NEAR, 0.95, 0.9, 0)]


async def test_labels_are_read_beside_lookups_and_not_for_each() -> None:
    async with Background(drain_seconds=1) as background:
        world = World(background)
        await world.learn(GOOD, 300)
        assert world.thresholds.demand("acme", Tier.CALIBRATED) == Demand(votes=NOTHING_IS_NEAR)
        assert [await world.calibrated() for _ in range(3)] == [0.6] * 3
        assert world.labels.reads == 1
        world.clock.advance(5)
        assert await world.calibrated() == 0.6
        assert world.labels.reads == 2


async def test_what_was_proven_outlives_the_process() -> None:
    async with Background(drain_seconds=1) as background:
        world = World(background)
        await world.learn(GOOD, 300)
        await world.calibrated()
        await world.learn(GOOD._replace(wrong=True), 9)
        again = World(background)
        again.labels._tallies, again.labels._proven = world.labels._tallies, world.labels._proven
        assert await again.calibrated() == 0.6


async def test_labels_that_cannot_be_read_change_nothing() -> None:
    async with Background(drain_seconds=1) as background:
        world = World(background)
        await world.learn(GOOD, 300)
        await world.calibrated()
        world.labels.error = TokenwayError(Reason.SERVICE_UNAVAILABLE, "away")
        world.clock.advance(5)
        assert await world.calibrated() == 0.6


async def test_an_organisation_without_a_policy_has_no_calibrated_hits() -> None:
    async with Background(drain_seconds=1) as background:
        world = World(background)
        assert world.thresholds.demand("globex", Tier.CALIBRATED) == Demand(NOTHING_IS_NEAR)
        assert await world.thresholds.standing("globex") == Standing()
    assert world.labels.reads == 0


async def test_labels_of_cosines_prove_no_share_of_votes() -> None:
    async with Background(drain_seconds=1) as background:
        world = World(background)
        world.measure = Measure.COSINE
        await world.learn(GOOD, 300)
        assert await world.calibrated() == NOTHING_IS_NEAR


async def test_what_is_estimated_is_of_the_tier_that_the_organisation_has() -> None:
    async with Background(drain_seconds=1) as background:
        world = World(background, tier=Tier.BALANCED)
        await world.learn(GOOD._replace(wrong=True), 50)
        await world.learn(GOOD._replace(step=93), 50)
        standing = await world.thresholds.standing("acme")
    assert (standing.estimate.wrong_share, standing.estimate.labels, standing.threshold) == (0, 50, 0)
    assert world.thresholds.known == {"acme": standing}


def test_of_many_questions_the_audited_share_is_drawn_the_same_by_every_replica() -> None:
    thresholds = LearntThresholds(
        labels=InMemoryLabels(), policies={}, background=Background(drain_seconds=1), clock=ManualClock()
    )
    keys = [AnswerKey("acme", hashlib.sha256(str(number).encode()).digest()) for number in range(10_000)]
    drawn = sum(thresholds.audits(each) for each in keys)
    assert abs(drawn / len(keys) - AUDIT_SHARE) < 0.006
