"""A clock that moves when a test says so."""

from __future__ import annotations


class ManualClock:
    """Both of its clocks advance together; it begins at a round moment of 2023."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self._now += seconds

    def monotonic(self) -> float:
        return self._now

    def now(self) -> float:
        return self._now
