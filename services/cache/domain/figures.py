"""What the cache says of itself to those who run it."""

from __future__ import annotations

from dataclasses import dataclass

from services.cache.domain.ports import AnswerStore
from services.cache.domain.stats import Counts, Stats
from services.cache.domain.thresholds import LearntThresholds, Standing


@dataclass(frozen=True, slots=True)
class Figures:
    """What this process has counted since its start; how many answers are stored; what is known of wrong hits."""

    counts: Counts
    entries: int = 0
    standing: Standing = Standing()  # noqa: RUF009 # it is frozen


class ReadFigures:
    """Without `thresholds` there is no semantic tier."""

    def __init__(self, *, stats: Stats, answers: AnswerStore, thresholds: LearntThresholds | None) -> None:
        self._stats = stats
        self._answers = answers
        self._thresholds = thresholds

    async def of(self, organisation: str) -> Figures:
        """Of one organisation; SERVICE_UNAVAILABLE when the store is away. Of all, without a name: counts alone."""
        counts = self._stats.counts(organisation)
        if not organisation:
            return Figures(counts)
        standing = await self._thresholds.standing(organisation) if self._thresholds else Standing()
        return Figures(counts, await self._answers.count(organisation), standing)
