"""Takes a caller's word that an answer of the cache was wrong."""

from __future__ import annotations

from services.cache.domain.calibration import NOTHING_IS_NEAR, Measure, label
from services.cache.domain.found import Kind
from services.cache.domain.hit_log import HitLog
from services.cache.domain.model import Principal
from services.cache.domain.ports import AnswerStore, Labels
from services.cache.domain.served_hit import ServedHit
from services.cache.domain.stats import Stats


class ReportBadHit:
    """Evicts the answer; one that the semantic tier found is a label too. Without `labels` nothing is learnt."""

    def __init__(self, *, answers: AnswerStore, log: HitLog, stats: Stats, labels: Labels | None) -> None:
        self._answers = answers
        self._log = log
        self._stats = stats
        self._labels = labels

    async def report(self, principal: Principal, request_id: str, *, of_anyone: bool) -> bool:
        """Whether an answer was evicted: False where there is none any more, and for what the principal did not get.

        `of_anyone` lets an administrator report what others of the organisation got. A second report of the same
        request does nothing. SERVICE_UNAVAILABLE when the store is away: say it again.
        """
        hit = await self._log.find(principal.organisation, request_id)
        if hit is None or not (of_anyone or hit.key_id == principal.key_id):
            return False
        evicted = await self._evict(hit)
        # Last, and told to one alone: whoever was interrupted before may say it again, and it is counted once.
        if await self._log.forget(hit):
            self._stats.reported(principal.organisation)
            await self._learn(hit)
        return evicted

    async def _evict(self, hit: ServedHit) -> bool:
        stored = await self._answers.get(hit.key)
        # Another answer to the same question is not the one that was wrong.
        if stored is None or stored.source_request_id != hit.source_request_id:
            return False
        return await self._answers.evict(hit.key)

    async def _learn(self, hit: ServedHit) -> None:
        """It weighs as an audited hit, and right ones are never reported: the wrong share is rather overestimated."""
        measure, score = (Measure.VOTES, hit.votes) if hit.votes else (Measure.COSINE, hit.similarity)
        learnt = label(score, wrong=True, threshold=NOTHING_IS_NEAR)
        if self._labels is not None and hit.kind is Kind.SEMANTIC and learnt is not None:
            await self._labels.add(hit.key.organisation, measure, learnt)
