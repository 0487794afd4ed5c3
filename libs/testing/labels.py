"""What calibration has learnt, in memory."""

from __future__ import annotations

from collections import Counter, defaultdict

from services.cache.domain.calibration import NOTHING_IS_NEAR, Label, Learnt, Measure


class InMemoryLabels:
    """A Labels for tests. `error` is raised by every call while it is set; `reads` counts what was read."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.reads = 0
        self._tallies: defaultdict[tuple[str, Measure], Counter[Label]] = defaultdict(Counter)
        self._proven: dict[tuple[str, Measure, float], float] = {}

    async def add(self, organisation: str, measure: Measure, label: Label) -> None:
        self._fail_if_away()
        self._tallies[organisation, measure][label] += 1

    async def prove(self, organisation: str, measure: Measure, threshold: float, *, wrong_share: float) -> None:
        self._fail_if_away()
        self._proven[organisation, measure, wrong_share] = threshold

    async def learnt(self, organisation: str, measure: Measure, *, wrong_share: float) -> Learnt:
        self._fail_if_away()
        self.reads += 1
        proven = self._proven.get((organisation, measure, wrong_share), NOTHING_IS_NEAR)
        return Learnt(dict(self._tallies[organisation, measure]), proven)

    def _fail_if_away(self) -> None:
        if self.error is not None:
            raise self.error
