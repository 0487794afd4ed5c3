"""How near is near enough, as a test says."""

from __future__ import annotations

from services.cache.domain.key import AnswerKey
from services.cache.domain.model import Tier


class FixedThresholds:
    """Thresholds for tests. `audit` makes an audit of every hit."""

    def __init__(self, *, calibrated: float = 0.8) -> None:
        self.audit = False
        self._least = {Tier.EXACT: 2.0, Tier.STRICT: 0.95, Tier.BALANCED: 0.9, Tier.CALIBRATED: calibrated}

    def threshold(self, organisation: str, tier: Tier) -> float:
        return self._least[tier]

    def audits(self, key: AnswerKey) -> bool:
        return self.audit
