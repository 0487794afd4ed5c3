"""The semantic tier: the answer to a question that asks the same in other words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from libs.clock import Clock
from libs.errors import TokenwayError
from services.cache.domain.found import Hit, Kind, SemanticMiss
from services.cache.domain.key import AnswerKey, exact_key
from services.cache.domain.meaning import Meaning, Meanings
from services.cache.domain.model import Question, StoredAnswer, Tier
from services.cache.domain.ports import AnswerStore, LexicalGuard, Thresholds, VectorIndex
from services.cache.domain.semantic_eligibility import furthest_tier
from services.cache.domain.stats import SemanticResult, Stats

# The index may know answers that are there no more: so many are looked up before there is said to be none.
_LOOKED_UP = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer to a question nearby, and what the lexical guard says against giving it, if anything."""

    key: AnswerKey
    answer: StoredAnswer
    similarity: float
    objection: str | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Why the tier may not look, if so; else the cosine that it demands, and what there is, nearest first."""

    reason: str = ""
    threshold: float = 0.0
    candidates: tuple[Candidate, ...] = ()


class Semantic:
    """A SemanticTier. The index proposes; the store has the last word on each answer, the guard on the nearest."""

    def __init__(
        self,
        *,
        answers: AnswerStore,
        index: VectorIndex,
        meanings: Meanings,
        guard: LexicalGuard,
        thresholds: Thresholds,
        clock: Clock,
        stats: Stats,
    ) -> None:
        self._answers, self._index, self._meanings = answers, index, meanings
        self._guard, self._thresholds = guard, thresholds
        self._clock, self._stats = clock, stats

    def looks(self, question: Question, tier: Tier) -> bool:
        return self._meanings.refusal(question, tier) is None

    async def find(self, question: Question, tier: Tier) -> Hit | SemanticMiss:
        # Whoever is not waited for any longer is cancelled, and counted too.
        result = SemanticResult.LATE
        try:
            found = await self._find(question, tier)
            result = SemanticResult.HIT if isinstance(found, Hit) else SemanticResult(found.reason)
            return found
        finally:
            self._stats.looked_near(question.principal.organisation, result)

    async def near(self, question: Question, tier: Tier, *, limit: int) -> Surroundings:
        """What `find` would choose from. Counts as no lookup. SERVICE_UNAVAILABLE when the store is away."""
        meaning = await self._meanings.of(question, tier)
        if not isinstance(meaning, Meaning):
            return Surroundings(self._meanings.refusal(question, tier) or meaning)
        organisation = question.principal.organisation
        threshold = self._thresholds.threshold(organisation, furthest_tier(question, tier))
        candidates = [each async for each in self._candidates(organisation, meaning, limit=limit)]
        return Surroundings("", threshold, tuple(candidates))

    async def _find(self, question: Question, tier: Tier) -> Hit | SemanticMiss:
        meaning = await self._meanings.of(question, tier)
        if not isinstance(meaning, Meaning):
            return SemanticMiss(meaning)
        organisation = question.principal.organisation
        threshold = self._thresholds.threshold(organisation, furthest_tier(question, tier))
        try:
            nearest = await self._nearest(organisation, meaning)
        except TokenwayError:
            return SemanticMiss(SemanticResult.FAILED, threshold)
        if nearest is None:
            return SemanticMiss(SemanticResult.NONE, threshold)
        refusal = self._refusal(question, nearest, threshold)
        if refusal is not None:
            return SemanticMiss(
                refusal, threshold, (nearest.objection or "") if refusal is SemanticResult.GUARD else ""
            )
        age_seconds = max(0.0, self._clock.now() - nearest.answer.created_at)
        return Hit(nearest.answer, age_seconds, Kind.SEMANTIC, nearest.similarity, threshold, nearest.key)

    def _refusal(self, question: Question, nearest: Candidate, threshold: float) -> SemanticResult | None:
        if nearest.similarity < threshold:
            return SemanticResult.THRESHOLD
        if nearest.objection is not None:
            self._stats.vetoed(nearest.objection)
            return SemanticResult.GUARD
        return SemanticResult.AUDIT if self._thresholds.audits(exact_key(question)) else None

    async def _nearest(self, organisation: str, meaning: Meaning) -> Candidate | None:
        async with aclosing(self._candidates(organisation, meaning, limit=_LOOKED_UP)) as candidates:
            return await anext(candidates, None)

    async def _candidates(self, organisation: str, meaning: Meaning, *, limit: int) -> AsyncGenerator[Candidate]:
        for near in self._index.nearest(organisation, meaning.partition, meaning.vector, limit=limit):
            answer = await self._answers.get(near.key)
            if answer is None or answer.partition != meaning.partition:
                # Dropped, evicted, or put anew for its own question alone.
                self._index.remove(near.key)
                continue
            objection = self._guard(meaning.asked, answer.asked)
            # Rounded to two bytes a number, a vector may be a little longer than 1.
            yield Candidate(near.key, answer, min(near.similarity, 1.0), objection)
