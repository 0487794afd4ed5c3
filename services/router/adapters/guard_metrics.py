"""What the guards found, and what they held back of answers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from libs.telemetry import names
from libs.telemetry.exemplar import current_trace
from services.router.domain.guards.policy import Direction, Verdict

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_CHARACTERS = (4, 8, 16, 32, 64)


class GuardMetrics:
    """By the names of rules, which the configuration gives."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._verdicts = Counter(
            names.METRIC_GUARD_VERDICTS, "Findings of the guards.", ["rule", "direction", "action"], registry=registry
        )
        self._held_seconds = Histogram(
            names.METRIC_GUARD_HELD_SECONDS,
            "The longest that any text of a guarded answer was held back.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._held_characters = Histogram(
            names.METRIC_GUARD_HELD_CHARACTERS,
            "The most characters of a guarded answer that were held back at once.",
            buckets=_CHARACTERS,
            registry=registry,
        )

    def judged(self, direction: Direction, verdict: Verdict) -> None:
        self._verdicts.labels(verdict.rule, direction, verdict.action).inc()

    def held(self, *, seconds: float, characters: int) -> None:
        """Once an answer."""
        self._held_seconds.observe(seconds, current_trace())
        self._held_characters.observe(characters)
