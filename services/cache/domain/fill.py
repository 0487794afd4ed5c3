"""Stores an answer, if it is whole and may be given again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from libs.clock import Clock
from libs.errors import FieldViolation, invalid_request
from libs.money import Usage
from services.cache.domain.draft import Draft, FillEvent, FillOrder
from services.cache.domain.eligibility import bypass_reason
from services.cache.domain.key import exact_key
from services.cache.domain.labelling import Labelling
from services.cache.domain.meaning import Meaning, Meanings
from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import AnswerStore
from services.cache.domain.stats import FillResult, Stats

# So that answers stored together do not all expire, and are all generated again, at once.
_JITTER_SHARE = 0.1


class Fill:
    """`chance` draws from 0 to 1; it spreads the expiry of what is stored. Without `meanings` all is for exact hits."""

    def __init__(
        self,
        *,
        answers: AnswerStore,
        clock: Clock,
        stats: Stats,
        chance: Callable[[], float],
        max_answer_bytes: int,
        meanings: Meanings | None = None,
        labelling: Labelling | None = None,
    ) -> None:
        self._answers = answers
        self._clock = clock
        self._stats = stats
        self._chance = chance
        self._max_answer_bytes = max_answer_bytes
        self._meanings = meanings
        self._labelling = labelling

    async def store(self, events: AsyncIterator[FillEvent]) -> FillResult:
        """Takes an order, parts of an answer and its end, in that order and to the end of the stream.

        INVALID_REQUEST for another order; SERVICE_UNAVAILABLE when the store is away. Whatever goes wrong, and whenever
        the caller leaves, nothing is stored.
        """
        order = await anext(events, None)
        if not isinstance(order, FillOrder):
            raise invalid_request(FieldViolation("event", "the first is no header: send the header before the answer"))
        result = FillResult.FAILED
        try:
            result = await self._store(order, events)
        finally:
            self._stats.filled(order.question.principal.organisation, result)
        return result

    async def _store(self, order: FillOrder, events: AsyncIterator[FillEvent]) -> FillResult:
        reason = bypass_reason(order.question)
        if reason is not None:
            return FillResult(reason)
        draft = Draft(max_answer_bytes=self._max_answer_bytes)
        async for event in events:
            draft.add(event)
            if draft.refused is not None:
                return draft.refused
        if draft.end is None:
            return FillResult.UNFINISHED
        meaning = await self._meaning(order)
        answer = self._answer(order, draft, draft.end.usage, meaning)
        key = exact_key(order.question)
        if not await self._answers.put(key, answer, as_of=order.as_of, vector=meaning.vector if meaning else b""):
            return FillResult.INVALIDATED
        if meaning and self._labelling:
            self._labelling.stored(order.question, order.tier, key, answer)
        return FillResult.STORED

    async def _meaning(self, order: FillOrder) -> Meaning | None:
        """None for an answer that its own question alone shall find: at worst since the encoder is busy."""
        if self._meanings is None:
            return None
        meaning = await self._meanings.of(order.question, order.tier)
        return meaning if isinstance(meaning, Meaning) else None

    def _answer(self, order: FillOrder, draft: Draft, usage: Usage, meaning: Meaning | None) -> StoredAnswer:
        now = self._clock.now()
        jitter = 1 + _JITTER_SHARE * (2 * self._chance() - 1)
        return StoredAnswer(
            whole=draft.whole(),
            usage=usage,
            model=order.question.model,
            model_revision=order.question.model_revision,
            tags=order.tags,
            created_at=now,
            expires_at=now + order.ttl_seconds * jitter,
            source_request_id=order.request_id,
            source_traceparent=order.traceparent,
            asked=meaning.asked if meaning else "",
            partition=meaning.partition if meaning else b"",
        )
