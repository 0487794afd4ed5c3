"""Looks for an answer: in the exact tier at once, then in the semantic one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from libs.clock import Clock
from services.cache.domain.eligibility import bypass_reason
from services.cache.domain.found import Bypass, Found, Hit, LookupEvent, Miss, SemanticMiss
from services.cache.domain.key import exact_key
from services.cache.domain.model import Question, Tier
from services.cache.domain.ports import AnswerStore, SemanticTier
from services.cache.domain.stats import Stats, Verdict

_VERDICTS = {Hit: Verdict.HIT, Miss: Verdict.MISS, Bypass: Verdict.BYPASS}
_LATE = SemanticMiss("late")
# So that the second verdict is with the router before it goes on without.
_SEMANTIC_SHARE = 0.9


class Lookup:
    """The exact verdict never waits for the semantic tier, which may be absent. The router waits for that one's for
    `semantic_seconds`.
    """

    def __init__(
        self,
        *,
        answers: AnswerStore,
        clock: Clock,
        stats: Stats,
        semantic: SemanticTier | None = None,
        semantic_seconds: float = 0.05,
    ) -> None:
        self._answers = answers
        self._clock = clock
        self._stats = stats
        self._semantic = semantic
        self._semantic_seconds = semantic_seconds

    async def events(self, question: Question, *, tier: Tier = Tier.EXACT) -> AsyncGenerator[LookupEvent]:
        """A verdict, and a second one where the first says so.

        SERVICE_UNAVAILABLE when the store is away: to the caller a miss.
        """
        verdict = Verdict.FAILED
        try:
            async with aclosing(self._events(question, tier)) as events:
                async for event in events:
                    if isinstance(event, Found):
                        verdict = _VERDICTS[type(event.verdict)]
                    yield event
        finally:
            # A caller that stopped waiting is counted too: by what it had been told.
            self._stats.looked_up(question.principal.organisation, verdict)

    async def _events(self, question: Question, tier: Tier) -> AsyncGenerator[LookupEvent]:
        found = Found(await self._exact(question))
        semantic = self._semantic_for(question, tier) if isinstance(found.verdict, Miss) else None
        if semantic is not None:
            yield Found(found.verdict, semantic_pending=True)
            found = await self._like(semantic, question, tier, found)
        yield found

    async def _exact(self, question: Question) -> Hit | Miss | Bypass:
        reason = bypass_reason(question)
        if reason is not None:
            return Bypass(reason)
        key = exact_key(question)
        answer = await self._answers.get(key)
        if answer is None:
            return Miss()
        return Hit(answer, age_seconds=max(0.0, self._clock.now() - answer.created_at), key=key)

    def _semantic_for(self, question: Question, tier: Tier) -> SemanticTier | None:
        return self._semantic if self._semantic is not None and self._semantic.looks(question, tier) else None

    async def _like(self, semantic: SemanticTier, question: Question, tier: Tier, exact: Found) -> Found:
        """What the semantic tier has found in its time."""
        try:
            async with asyncio.timeout(self._semantic_seconds * _SEMANTIC_SHARE):
                found = await semantic.find(question, tier)
        except TimeoutError:
            found = _LATE
        return Found(found) if isinstance(found, Hit) else Found(exact.verdict, semantic=found)
