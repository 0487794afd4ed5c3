"""How near is near enough, as a test says."""

from __future__ import annotations

from services.cache.domain.demand import Demand
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import Tier


class FixedThresholds:
    """Thresholds for tests, of an organisation whose tier is calibrated only where that is asked for. `votes` is the
    share that it demands; `audit` makes an audit of every hit.
    """

    def __init__(self, *, votes: float = 0.8) -> None:
        self.audit = False
        self.votes = votes
        self._least = {Tier.EXACT: 2.0, Tier.STRICT: 0.95, Tier.BALANCED: 0.9}

    def demand(self, organisation: str, tier: Tier) -> Demand:
        return Demand(votes=self.votes) if tier is Tier.CALIBRATED else Demand(self._least[tier])

    def audits(self, key: AnswerKey) -> bool:
        return self.audit
