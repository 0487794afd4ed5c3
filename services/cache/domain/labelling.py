"""Learns from answers that are stored: would the nearest other one have been right?"""

from __future__ import annotations

import math
from typing import Protocol

from libs.background import Background
from libs.clock import Clock
from services.cache.domain.calibration import label
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import Question, StoredAnswer, Tier
from services.cache.domain.ports import Labels, Thresholds, Verifier
from services.cache.domain.semantic import Surroundings

# The answer itself may be among them, once or as what it replaced.
_NEAREST = 3
# The encoder takes some 20 ms for the two answers, and lookups wait for it too.
_BETWEEN_LABELS_SECONDS = 0.25


class Near(Protocol):
    """What the semantic tier would choose from; Semantic is one."""

    async def near(self, question: Question, tier: Tier, *, limit: int) -> Surroundings:
        """The nearest of its partition."""
        ...


class Labelling:
    """Beside the path of whoever stores: one after another and four a second; beyond that an answer teaches nothing."""

    def __init__(
        self,
        *,
        semantic: Near,
        verifier: Verifier,
        thresholds: Thresholds,
        labels: Labels,
        background: Background,
        clock: Clock,
    ) -> None:
        self._semantic = semantic
        self._verifier = verifier
        self._thresholds = thresholds
        self._labels = labels
        self._background = background
        self._clock = clock
        self._busy_until = float("-inf")

    def stored(self, question: Question, tier: Tier, key: AnswerKey, answer: StoredAnswer) -> None:
        """Was there something near, and would it have been the same answer? At once; what it takes comes later."""
        if self._clock.monotonic() >= self._busy_until:
            self._busy_until = math.inf
            _ = self._background.begin(self._label(question, tier, key, answer), name="label")

    async def _label(self, question: Question, tier: Tier, key: AnswerKey, answer: StoredAnswer) -> None:
        try:
            around = await self._semantic.near(question, tier, limit=_NEAREST)
            nearest = next((each for each in around.candidates if each.key != key), None)
            if nearest is None or nearest.objection is not None:
                return
            if nearest.similarity >= around.threshold and not self._thresholds.audits(key):
                # It would have been a hit, had the semantic tier had the time. To label such ones as well would give
                # hits the more weight the busier the cache is.
                return
            same = await self._verifier.same(answer, nearest.answer)
            if same is None:
                return
            learnt = label(nearest.similarity, wrong=not same, threshold=around.threshold)
            if learnt is not None:
                await self._labels.add(key.organisation, learnt)
        finally:
            self._busy_until = self._clock.monotonic() + _BETWEEN_LABELS_SECONDS
