"""What calibration has learnt, in memory."""

from __future__ import annotations

from collections import Counter, defaultdict

from services.cache.domain.calibration import NOTHING_IS_NEAR, Label, Learnt


class InMemoryLabels:
    """A Labels for tests. `error` is raised by every call while it is set; `reads` counts what was read."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.reads = 0
        self._tallies: defaultdict[str, Counter[Label]] = defaultdict(Counter)
        self._proven: dict[str, float] = {}

    async def add(self, organisation: str, label: Label) -> None:
        self._fail_if_away()
        self._tallies[organisation][label] += 1

    async def prove(self, organisation: str, threshold: float) -> None:
        self._fail_if_away()
        self._proven[organisation] = threshold

    async def learnt(self, organisation: str) -> Learnt:
        self._fail_if_away()
        self.reads += 1
        return Learnt(dict(self._tallies[organisation]), self._proven.get(organisation, NOTHING_IS_NEAR))

    def _fail_if_away(self) -> None:
        if self.error is not None:
            raise self.error
