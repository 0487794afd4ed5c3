"""How near is near enough, by tier alone."""

from __future__ import annotations

from services.cache.domain.model import Tier

# No cosine is so near.
_NOTHING = 2.0
_LEAST = {Tier.EXACT: _NOTHING, Tier.STRICT: 0.95, Tier.BALANCED: 0.9, Tier.CALIBRATED: _NOTHING}


class TierThresholds:
    """Thresholds that learn nothing: the calibrated tier finds nothing near enough, and no hit is audited."""

    def threshold(self, organisation: str, tier: Tier) -> float:
        return _LEAST[tier]

    def audits(self, organisation: str) -> bool:
        return False
