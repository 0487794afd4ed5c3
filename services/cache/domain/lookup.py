"""Looks for an answer."""

from __future__ import annotations

from dataclasses import dataclass

from libs.clock import Clock
from services.cache.domain.eligibility import BypassReason, bypass_reason
from services.cache.domain.key import exact_key
from services.cache.domain.model import Question, StoredAnswer
from services.cache.domain.ports import AnswerStore
from services.cache.domain.stats import Stats, Verdict


@dataclass(frozen=True, slots=True)
class Hit:
    """The answer, and how old it is."""

    answer: StoredAnswer
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Miss:
    """There is none."""


@dataclass(frozen=True, slots=True)
class Bypass:
    """This question may not be cached."""

    reason: BypassReason


Found = Hit | Miss | Bypass


class Lookup:
    """The exact tier. The semantic one and single-flight will stand behind its misses."""

    def __init__(self, *, answers: AnswerStore, clock: Clock, stats: Stats) -> None:
        self._answers = answers
        self._clock = clock
        self._stats = stats

    async def find(self, question: Question) -> Found:
        """What there is. SERVICE_UNAVAILABLE when the store is away: to the caller a miss."""
        verdict = Verdict.FAILED
        try:
            found = await self._find(question)
            verdict = _VERDICTS[type(found)]
            return found
        finally:
            # A caller that stopped waiting is counted too.
            self._stats.looked_up(question.principal.organisation, verdict)

    async def _find(self, question: Question) -> Found:
        reason = bypass_reason(question)
        if reason is not None:
            return Bypass(reason)
        answer = await self._answers.get(exact_key(question))
        if answer is None:
            return Miss()
        return Hit(answer, age_seconds=max(0.0, self._clock.now() - answer.created_at))


_VERDICTS = {Hit: Verdict.HIT, Miss: Verdict.MISS, Bypass: Verdict.BYPASS}
