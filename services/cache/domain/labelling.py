"""Learns from answers that are stored: would the other one have been right that was nearest?"""

from __future__ import annotations

import math
from typing import Protocol

from libs.background import Background
from libs.clock import Clock
from services.cache.domain.calibration import Measure, label
from services.cache.domain.demand import Demand
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import Question, StoredAnswer, Tier
from services.cache.domain.ports import AnswerStore, Labels, Thresholds, Verifier
from services.cache.domain.semantic import Candidate, Surroundings

# Where votes are counted, with as many families at most.
_COMPARED = 4
# The encoder takes some 10 ms for an answer, and lookups wait for it too.
_BETWEEN_LABELS_SECONDS = 0.25


class Near(Protocol):
    """What the semantic tier would choose from; Semantic is one."""

    async def near(
        self, question: Question, tier: Tier, *, limit: int, without: AnswerKey | None = None
    ) -> Surroundings:
        """The nearest of its partition, as if `without` were not there."""
        ...


class Labelling:
    """Beside the path of whoever stores: one after another and four a second; beyond that an answer teaches nothing.

    Where votes are counted it also finds the answer's family. One that stays alone has a vote of its own, no more.
    """

    def __init__(
        self,
        *,
        semantic: Near,
        answers: AnswerStore,
        verifier: Verifier,
        thresholds: Thresholds,
        labels: Labels,
        background: Background,
        clock: Clock,
    ) -> None:
        self._semantic = semantic
        self._answers = answers
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
            around = await self._semantic.near(question, tier, limit=_COMPARED, without=key)
            await self._compare(key, answer, around)
        finally:
            self._busy_until = self._clock.monotonic() + _BETWEEN_LABELS_SECONDS

    async def _compare(self, key: AnswerKey, answer: StoredAnswer, around: Surroundings) -> None:
        given, votes = around.given, around.demand.measure is Measure.VOTES
        teaches = given is not None and self._teaches(key, given, around.demand)
        if not teaches and not votes:
            return
        compared = set[bytes]()
        for each in filter(None, (given, *(around.candidates if votes else ()))):
            if each.family in compared:
                continue
            compared.add(each.family)
            same = await self._verifier.same(answer, each.answer)
            if each is given and teaches and same is not None:
                await self._learn(key, each, around.demand, wrong=not same)
            if same and votes:
                await self._answers.join(key, each.family)
                return

    def _teaches(self, key: AnswerKey, given: Candidate, demand: Demand) -> bool:
        """Not one that would have been a hit, had the semantic tier had the time: to label such ones as well would give
        hits the more weight the busier the cache is.
        """
        return demand.learns_from(given) and (not demand.met(given) or self._thresholds.audits(key))

    async def _learn(self, key: AnswerKey, given: Candidate, demand: Demand, *, wrong: bool) -> None:
        learnt = label(demand.score(given), wrong=wrong, threshold=demand.threshold)
        if learnt is not None:
            await self._labels.add(key.organisation, demand.measure, learnt)
