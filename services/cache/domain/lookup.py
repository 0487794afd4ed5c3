"""Looks for an answer: in the exact tier at once, then in the semantic one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

from libs.clock import Clock
from services.cache.domain.eligibility import BypassReason, bypass_reason
from services.cache.domain.flight import Follow, Lead, Leader
from services.cache.domain.found import Bypass, Found, Hit, LookupEvent, Miss, SemanticMiss
from services.cache.domain.key import exact_key
from services.cache.domain.model import Question, StoredAnswer, Tier
from services.cache.domain.ports import AnswerStore, SemanticTier
from services.cache.domain.selection import selections_of
from services.cache.domain.single_flight import Boarded, SingleFlight
from services.cache.domain.stats import FlightEvent, Stats, Verdict

_VERDICTS = {
    Hit: Verdict.HIT,
    Miss: Verdict.MISS,
    Bypass: Verdict.BYPASS,
    Lead: Verdict.MISS,
    Follow: Verdict.SHARED,
}
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
        single_flight: SingleFlight | None = None,
    ) -> None:
        self._answers = answers
        self._clock = clock
        self._stats = stats
        self._semantic = semantic
        self._semantic_seconds = semantic_seconds
        self._single_flight = single_flight

    async def events(
        self, question: Question, *, tier: Tier = Tier.EXACT, leader: Leader | None = None, tags: Sequence[str] = ()
    ) -> AsyncGenerator[LookupEvent]:
        """A verdict, and a second one where the first says so; then what there is to tell whoever leads or follows.

        With a `leader` the caller may be made one, whose answer would be stored with these tags, and does nothing but
        follow where there is one. SERVICE_UNAVAILABLE when the store is away: to the caller a miss.
        """
        async with aclosing(self._counted(question, self._events(question, tier, leader, tags))) as events:
            async for event in events:
                yield event

    async def refreshed(self, question: Question) -> AsyncGenerator[LookupEvent]:
        """For a caller that generates whatever there is: what it needs to know for its answer, in a bypass."""
        async with aclosing(self._counted(question, self._refreshed(question))) as events:
            async for event in events:
                yield event

    async def _counted(self, question: Question, events: AsyncGenerator[LookupEvent]) -> AsyncGenerator[LookupEvent]:
        verdict = Verdict.FAILED
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Found):
                        verdict = _VERDICTS[type(event.verdict)]
                    yield event
        finally:
            # A caller that stopped waiting is counted too: by what it had been told.
            self._stats.looked_up(question.principal.organisation, verdict)

    async def _refreshed(self, question: Question) -> AsyncGenerator[LookupEvent]:
        reason = bypass_reason(question) or BypassReason.REFRESH
        yield Found(Bypass(reason), as_of=await self._answers.as_of(question.principal.organisation))

    async def _events(
        self, question: Question, tier: Tier, leader: Leader | None, tags: Sequence[str]
    ) -> AsyncGenerator[LookupEvent]:
        followed = False
        while True:
            async with self._exact(question, leader, tags) as boarded:
                found = Found(self._verdict(question, boarded), as_of=boarded.as_of)
                if followed and isinstance(found.verdict, Lead):
                    self._stats.flew(FlightEvent.PROMOTED)
                semantic = None if followed else self._semantic_for(question, tier, found)
                if semantic is not None:
                    async with _begun(self._like(semantic, question, tier, found)) as looking:
                        yield replace(found, semantic_pending=True)
                        found = await looking
                yield found
                if boarded.flight is not None and not isinstance(found.verdict, Hit):
                    async with aclosing(boarded.flight.events()) as events:
                        async for event in events:
                            yield event
                if isinstance(found.verdict, Hit) or not boarded.lost:
                    return
            followed = True

    @asynccontextmanager
    async def _exact(self, question: Question, leader: Leader | None, tags: Sequence[str]) -> AsyncIterator[Boarded]:
        if self._single_flight is None or leader is None or bypass_reason(question) is not None:
            yield await self._found(question)
        else:
            selections = selections_of(question.model, question.model_revision, tags)
            async with self._single_flight.boarded(exact_key(question), leader, selections) as boarded:
                yield boarded

    async def _found(self, question: Question) -> Boarded:
        if (reason := bypass_reason(question)) is not None:
            return Boarded(reason)
        if (answer := await self._answers.get(exact_key(question))) is not None:
            return Boarded(answer)
        return Boarded(None, as_of=await self._answers.as_of(question.principal.organisation))

    def _verdict(self, question: Question, boarded: Boarded) -> Hit | Miss | Bypass | Lead | Follow:
        match boarded.verdict:
            case None:
                return Miss()
            case BypassReason():
                return Bypass(boarded.verdict)
            case StoredAnswer(created_at=created_at):
                age_seconds = max(0.0, self._clock.now() - created_at)
                return Hit(boarded.verdict, age_seconds=age_seconds, key=exact_key(question))
            case _:
                return boarded.verdict

    def _semantic_for(self, question: Question, tier: Tier, exact: Found) -> SemanticTier | None:
        """Where it may help; to see whether it may look takes a long text's time, which no exact hit waits for."""
        if self._semantic is None or not isinstance(exact.verdict, Miss | Lead | Follow):
            return None
        return self._semantic if self._semantic.looks(question, tier) else None

    async def _like(self, semantic: SemanticTier, question: Question, tier: Tier, exact: Found) -> Found:
        """What the semantic tier has found in its time."""
        try:
            async with asyncio.timeout(self._semantic_seconds * _SEMANTIC_SHARE):
                found = await semantic.find(question, tier)
        except TimeoutError:
            found = _LATE
        return Found(found) if isinstance(found, Hit) else replace(exact, semantic=found)


@asynccontextmanager
async def _begun(looking: Coroutine[Any, Any, Found]) -> AsyncIterator[asyncio.Task[Found]]:
    """It goes on while the first verdict is on its way, and ends with whoever asks."""
    task = asyncio.create_task(looking, name="look near")
    try:
        yield task
    finally:
        if task.cancel():
            await asyncio.wait({task})
