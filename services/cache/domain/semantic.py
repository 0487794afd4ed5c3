"""The semantic tier: the answer to a question that asks the same in other words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from libs.clock import Clock
from libs.errors import TokenwayError
from services.cache.domain.calibration import Measure
from services.cache.domain.demand import Demand
from services.cache.domain.found import Hit, Kind, SemanticMiss
from services.cache.domain.key import AnswerKey, exact_key
from services.cache.domain.meaning import Meaning, Meanings
from services.cache.domain.model import Question, StoredAnswer, Tier
from services.cache.domain.ports import AnswerStore, LexicalGuard, Near, Thresholds, VectorIndex
from services.cache.domain.semantic_eligibility import furthest_tier
from services.cache.domain.stats import SemanticResult, Stats
from services.cache.domain.votes import NEIGHBOURS, shares

# The index may know answers that are there no more: so many are looked up before there is said to be none.
_LOOKED_UP = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer to a question nearby, and what the lexical guard says against giving it, if anything."""

    key: AnswerKey
    answer: StoredAnswer
    similarity: float
    objection: str | None
    # Of the questions nearby, as `votes` counts them.
    votes: float
    # All whose answers were found the same have the same one.
    family: bytes


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Why the tier may not look, if so; else what it demands, and what there is, nearest first. All of that where it
    would find a hit that is audited.
    """

    reason: str = ""
    demand: Demand = Demand()  # noqa: RUF009 # it is frozen
    candidates: tuple[Candidate, ...] = ()

    @property
    def given(self) -> Candidate | None:
        """Which of them would be, were its score high enough; None where the guard keeps all back."""
        considered = self.candidates[: self.demand.considered]
        return next((each for each in considered if not self.demand.vetoes(each.objection)), None)


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

    async def near(
        self, question: Question, tier: Tier, *, limit: int, without: AnswerKey | None = None
    ) -> Surroundings:
        """What `find` would choose from, or would if `without` were not there. Counts as no lookup.

        SERVICE_UNAVAILABLE when the store is away.
        """
        meaning = await self._meanings.of(question, tier)
        if not isinstance(meaning, Meaning):
            return Surroundings(self._meanings.refusal(question, tier) or meaning)
        organisation = question.principal.organisation
        demand = self._thresholds.demand(organisation, furthest_tier(question, tier))
        candidates = [each async for each in self._candidates(organisation, meaning, limit=limit, without=without)]
        around = Surroundings("", demand, tuple(candidates))
        given = around.given
        if given is not None and demand.met(given) and self._thresholds.audits(exact_key(question)):
            return replace(around, reason=SemanticResult.AUDIT)
        return around

    async def _find(self, question: Question, tier: Tier) -> Hit | SemanticMiss:
        meaning = await self._meanings.of(question, tier)
        if not isinstance(meaning, Meaning):
            return SemanticMiss(meaning)
        organisation = question.principal.organisation
        demand = self._thresholds.demand(organisation, furthest_tier(question, tier))
        try:
            best = await self._best(organisation, meaning, demand)
        except TokenwayError:
            return SemanticMiss(SemanticResult.FAILED, demand.threshold)
        if best is None:
            return SemanticMiss(SemanticResult.NONE, demand.threshold)
        refusal = self._refusal(question, best, demand)
        if refusal is not None:
            objection = (best.objection or "") if refusal is SemanticResult.GUARD else ""
            return SemanticMiss(refusal, demand.threshold, objection)
        return Hit(
            best.answer,
            max(0.0, self._clock.now() - best.answer.created_at),
            Kind.SEMANTIC,
            best.similarity,
            demand.threshold,
            best.votes if demand.measure is Measure.VOTES else 0.0,
            best.key,
        )

    def _refusal(self, question: Question, best: Candidate, demand: Demand) -> SemanticResult | None:
        if not demand.met(best):
            return SemanticResult.THRESHOLD
        if best.objection is not None and demand.vetoes(best.objection):
            self._stats.vetoed(best.objection)
            return SemanticResult.GUARD
        return SemanticResult.AUDIT if self._thresholds.audits(exact_key(question)) else None

    async def _best(self, organisation: str, meaning: Meaning, demand: Demand) -> Candidate | None:
        """The nearest of those considered that the guard lets pass; else the nearest."""
        considered: list[Candidate] = []
        async with aclosing(self._candidates(organisation, meaning, limit=_LOOKED_UP)) as candidates:
            async for each in candidates:
                if not demand.vetoes(each.objection):
                    return each
                considered.append(each)
                if len(considered) == demand.considered:
                    break
        return considered[0] if considered else None

    async def _candidates(
        self, organisation: str, meaning: Meaning, *, limit: int, without: AnswerKey | None = None
    ) -> AsyncGenerator[Candidate]:
        near_ones = self._near(organisation, meaning, without)
        votes = shares(near_ones)
        for near in near_ones[:limit]:
            answer = await self._answers.get(near.key)
            if answer is None or answer.partition != meaning.partition:
                # Dropped, evicted, or put anew for its own question alone.
                self._index.remove(near.key)
                continue
            objection = self._guard(meaning.asked, answer.asked)
            # Rounded to two bytes a number, a vector may be a little longer than 1.
            yield Candidate(near.key, answer, min(near.similarity, 1.0), objection, votes[near.family], near.family)

    def _near(self, organisation: str, meaning: Meaning, without: AnswerKey | None) -> list[Near]:
        near = self._index.nearest(organisation, meaning.partition, meaning.vector, limit=NEIGHBOURS + 1)
        return [each for each in near if each.key != without][:NEIGHBOURS]
