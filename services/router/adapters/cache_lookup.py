"""One open Lookup behind the port Looking: its verdicts, and the answer that a hit brings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self

import structlog

from libs.errors import Reason, TokenwayError
from libs.rpc.client import Stream
from libs.rpc.delta import ProtoDelta
from libs.rpc.money import usage_from_proto
from services.router.adapters.asked_lately import AskedLately
from services.router.adapters.replay import replay
from services.router.domain.answer import CachedFrom, CacheKind, CacheVerdict, FinishReason
from services.router.domain.ask import CacheTier
from services.router.domain.ports import CachedAnswer, Follow, Lead, Looked, SharedEnd, SharedEvent
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import generation_pb2, money_pb2

_VERDICTS = {pb.VERDICT_MISS: CacheVerdict.MISS, pb.VERDICT_BYPASS: CacheVerdict.BYPASSED}
_SLICES = 10
_STAYS_OPEN = {pb.VERDICT_LEAD, pb.VERDICT_FOLLOW}
_PROMISING = {pb.VERDICT_HIT, *_STAYS_OPEN}
_PATIENCE_SECONDS = 1.0
_KINDS: dict[int, CacheKind] = {money_pb2.CacheKind.Value(f"CACHE_KIND_{each}"): each for each in CacheKind}
_REASONS: dict[int, FinishReason] = {
    generation_pb2.FinishReason.Value(f"FINISH_REASON_{each}"): each for each in FinishReason
}


class CacheLookup:
    """The exact verdict has `lookup_seconds`, the semantic one after it `semantic_seconds`. A question for which the
    cache has just had something is worth a second.
    """

    def __init__(
        self,
        calls: Callable[[pb.LookupRequest], AbstractAsyncContextManager[Stream[pb.LookupResponse]]],
        *,
        request: pb.LookupRequest,
        question: bytes,
        lately: AskedLately,
        lookup_seconds: float,
        semantic_seconds: float,
    ) -> None:
        self._calls, self._request, self._question, self._lately = calls, request, question, lately
        self._lookup_seconds, self._semantic_seconds = lookup_seconds, semantic_seconds
        self.as_of = 0
        self._open = AsyncExitStack()
        self._messages = _Messages(_none())
        self._log = structlog.get_logger("cache_client")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # What became of the request is not how this call ended: it is left on purpose.
        await self._open.aclose()

    async def found(self) -> Looked:
        try:
            return await self._found()
        except (TokenwayError, TimeoutError) as error:
            self._log.info("lookup failed, going on without the cache", error=repr(error))
            await self._open.__aexit__(type(error), error, error.__traceback__)
            return CacheVerdict.UNAVAILABLE

    async def followed(self) -> bool:
        try:
            async for message in self._messages:
                if message.HasField("publish"):
                    return True
        except TokenwayError as error:
            self._log.info("the cache was lost by one that leads", error=repr(error))
        return False

    async def shared(self) -> AsyncGenerator[SharedEvent]:
        async for message in self._messages:
            match message.WhichOneof("event"):
                case "delta":
                    yield ProtoDelta.of(message.delta)
                case "stored":
                    yield _shared_end(message.stored)
                case "found":
                    self._note(message.found)
                    yield _looked(message.found)
        raise TokenwayError(Reason.STREAM_BROKEN, "the cache ended an answer that was followed before its end")

    async def _found(self) -> Looked:
        patient = await self._lately.promises(self._question)
        with self._lately.asking(self._question) as promise:
            found = await self._called(max(_PATIENCE_SECONDS * patient, self._lookup_seconds))
            if found.verdict in _PROMISING:
                promise()
        if found.semantic_pending:
            try:
                found = await self._verdict(self._semantic_seconds)
            except (TokenwayError, TimeoutError) as error:
                self._log.info("the semantic tier failed, going on without it", error=repr(error))
                if found.verdict != pb.VERDICT_LEAD:
                    # Whoever follows takes the answer also when it comes late. Nobody else hears of it.
                    if found.verdict != pb.VERDICT_FOLLOW:
                        await self._open.aclose()
                    return _looked(found)
                found = await self._called_without_semantic_tier()
        if found.verdict not in _STAYS_OPEN:
            # To the end also after a miss: a call that is left early is one that was cancelled, and its span would say
            # so.
            with suppress(TokenwayError, TimeoutError):
                _ = await self._messages.within(self._lookup_seconds)
        return _looked(found)

    async def _called(self, seconds: float) -> pb.Found:
        stream = await self._open.enter_async_context(self._calls(self._request))
        self._messages = _Messages(aiter(stream))
        self._open.push_async_callback(self._messages.aclose)
        return await self._verdict(seconds)

    async def _called_without_semantic_tier(self) -> pb.Found:
        """For one that leads: an answer that is found too late would end the look-up, and with it the lead."""
        await self._open.aclose()
        self._request.tier = CacheTier.EXACT
        return await self._called(_PATIENCE_SECONDS)

    async def _verdict(self, seconds: float) -> pb.Found:
        message = await self._messages.within(seconds)
        if message is None or message.WhichOneof("event") != "found":
            raise TokenwayError(Reason.SERVICE_UNAVAILABLE, "the cache ended a look-up without its verdict")
        self._note(message.found)
        return message.found

    def _note(self, found: pb.Found) -> None:
        self.as_of = found.as_of or self.as_of


class _Messages:
    """A stream's messages. One that is not waited for any longer is not lost, and the stream goes on: to cancel who
    reads a call of grpc.aio is to cancel the call.
    """

    def __init__(self, messages: AsyncIterator[pb.LookupResponse]) -> None:
        self._messages = messages
        self._coming: asyncio.Task[pb.LookupResponse | None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pb.LookupResponse:
        message = await self._next(None)
        if message is None:
            raise StopAsyncIteration
        return message

    async def within(self, seconds: float) -> pb.LookupResponse | None:
        """The next one, None at the end; TimeoutError."""
        return await self._next(seconds)

    async def aclose(self) -> None:
        """Ends the call if a message is still being waited for."""
        if (coming := self._coming) is not None:
            coming.cancel()
            await asyncio.wait({coming})
            if not coming.cancelled():
                coming.exception()

    async def _next(self, seconds: float | None) -> pb.LookupResponse | None:
        if self._coming is None:
            self._coming = asyncio.ensure_future(_next_of(self._messages))
        coming = self._coming
        if not await _done(coming, seconds):
            raise TimeoutError
        if self._coming is coming:  # two may wait for the same one: who leads, and who leaves the look-up for it
            self._coming = None
        return coming.result()


async def _done(coming: asyncio.Task[Any], seconds: float | None) -> bool:
    """Whether it has come within so many seconds in which this process was free to see it.

    In slices: a hundred requests that come at once keep the loop busy for longer than the cache takes, and a timer that
    fires late says nothing of the cache. Each slice counts as what it was meant to last.
    """
    if seconds is None:
        await asyncio.wait({coming})
        return True
    for _ in range(_SLICES):
        done, _ = await asyncio.wait({coming}, timeout=seconds / _SLICES)
        if done:
            return True
    return False


async def _none() -> AsyncIterator[pb.LookupResponse]:
    """Before the call."""
    return
    yield


async def _next_of(messages: AsyncIterator[pb.LookupResponse]) -> pb.LookupResponse | None:
    return await anext(messages, None)


def _looked(found: pb.Found) -> Looked:
    match found.verdict:
        case pb.VERDICT_HIT:
            return _answer(found)
        case pb.VERDICT_LEAD:
            return Lead(found.lead_token)
        case pb.VERDICT_FOLLOW:
            return Follow(_origin(found.origin))
        case _:
            return _VERDICTS.get(found.verdict, CacheVerdict.MISS)


def _answer(found: pb.Found) -> CachedAnswer | CacheVerdict:
    if (finish_reason := _REASONS.get(found.stored.finish_reason)) is None:
        return CacheVerdict.UNAVAILABLE  # it ended in a way that only a newer version knows
    return CachedAnswer(
        deltas=tuple(map(ProtoDelta.of, replay(found.answer))),
        finish_reason=finish_reason,
        origin=_origin(found.origin),
    )


def _shared_end(stored: pb.Stored) -> SharedEnd:
    finish_reason = _REASONS.get(stored.finish_reason)
    if finish_reason is None:
        raise TokenwayError(Reason.STREAM_BROKEN, "the cache ended an answer in a way that only a newer version knows")
    return SharedEnd(finish_reason, usage_from_proto(stored.usage))


def _origin(origin: money_pb2.CachedFrom) -> CachedFrom:
    return CachedFrom(
        kind=_KINDS.get(origin.kind, CacheKind.EXACT),
        source_request_id=origin.source_request_id,
        age_seconds=origin.age.seconds + origin.age.nanos / 1e9,
        similarity=origin.similarity,
        original_usage=usage_from_proto(origin.original_usage),
    )
