"""The models of the mesh, as far as choosing one needs them."""

from __future__ import annotations

from dataclasses import dataclass

from libs.money import Price

EVERY_CAPABILITY = "all"


@dataclass(frozen=True, slots=True)
class Model:
    """A model, what it is good for and what it costs."""

    name: str
    tier: str
    price: Price
    context_window_tokens: int
    capabilities: frozenset[str]
    p99_latency_seconds: float
    revision: str
    # A provider's: it cannot be stopped at a token, and counts them at the end.
    remote: bool = False

    def can(self, capability: str) -> bool:
        return capability in self.capabilities or EVERY_CAPABILITY in self.capabilities
