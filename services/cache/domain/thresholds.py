"""How near is near enough for each tier, which hits are audited, and how many are wrong by what labels say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from libs.background import Background
from libs.clock import Clock
from services.cache.domain.calibration import AUDIT_SHARE, NOTHING_IS_NEAR, UNKNOWN, Calibration, Estimate, Measure
from services.cache.domain.demand import Demand
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import Tier
from services.cache.domain.ports import Labels

_FIXED = {Tier.EXACT: NOTHING_IS_NEAR, Tier.STRICT: 0.95, Tier.BALANCED: 0.90}
# Other replicas label too.
_FRESH_SECONDS = 5.0
_DRAWN_BYTES = 4
_AUDITED_BELOW = int(AUDIT_SHARE * 2 ** (8 * _DRAWN_BYTES))


@dataclass(frozen=True, slots=True)
class SemanticPolicy:
    """How far an organisation goes, and how wrong its calibrated hits may be."""

    tier: Tier
    calibration: Calibration

    @property
    def measure(self) -> Measure:
        """By what its answers are chosen."""
        return Measure.VOTES if self.tier is Tier.CALIBRATED else Measure.COSINE


@dataclass(frozen=True, slots=True)
class Standing:
    """What labels say of an organisation: how many of its hits are wrong, and which share of the votes the calibrated
    tier demands; 0 where the organisation's tier is another.
    """

    threshold: float = 0.0
    estimate: Estimate = UNKNOWN


class LearntThresholds:
    """Thresholds. Labels are read beside the lookups, and not for each: what is known may be seconds old.

    An organisation without a policy has no calibrated hits.
    """

    def __init__(
        self, *, labels: Labels, policies: Mapping[str, SemanticPolicy], background: Background, clock: Clock
    ) -> None:
        self._labels = labels
        self._policies = policies
        self._background = background
        self._clock = clock
        self._standings: dict[str, Standing] = {}
        self._asked_at: dict[str, float] = {}

    def demand(self, organisation: str, tier: Tier) -> Demand:
        policy = self._policies.get(organisation)
        if policy is not None:
            self._refresh(organisation)
        fixed = _FIXED.get(tier, 0.0)
        if policy is None or policy.tier is not Tier.CALIBRATED:
            return Demand(fixed or NOTHING_IS_NEAR)
        # A stricter tier of a calibrated organisation keeps its bound too: that of a request, or of another language.
        standing = self._standings.get(organisation)
        return Demand(fixed, standing.threshold if standing else NOTHING_IS_NEAR)

    def audits(self, key: AnswerKey) -> bool:
        # By the key, which is as good as chance: so whoever stores the answer, on any replica, knows of it too.
        drawn = int.from_bytes(key.digest[:_DRAWN_BYTES])
        return drawn < _AUDITED_BELOW

    async def standing(self, organisation: str) -> Standing:
        """Where an organisation stands now. SERVICE_UNAVAILABLE when the labels cannot be read."""
        policy = self._policies.get(organisation)
        if policy is None:
            return Standing()
        wrong_share = policy.calibration.wrong_share
        learnt = await self._labels.learnt(organisation, policy.measure, wrong_share=wrong_share)
        threshold = policy.calibration.threshold(learnt) if policy.measure is Measure.VOTES else 0.0
        estimate = policy.calibration.estimate(learnt.tally, threshold=threshold or _FIXED[policy.tier])
        self._standings[organisation] = standing = Standing(threshold, estimate)
        if threshold and threshold != learnt.proven:
            await self._labels.prove(organisation, policy.measure, threshold, wrong_share=wrong_share)
        return standing

    @property
    def known(self) -> Mapping[str, Standing]:
        """Where each stood when it was last looked at."""
        return self._standings

    def _refresh(self, organisation: str) -> None:
        now = self._clock.monotonic()
        if now - self._asked_at.get(organisation, -_FRESH_SECONDS) >= _FRESH_SECONDS:
            self._asked_at[organisation] = now
            _ = self._background.begin(self.standing(organisation), name="calibration")
