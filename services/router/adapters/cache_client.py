"""The cache service behind the Cache port. Fails open: the worst that a cache may do is to be of no use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import structlog
from google.protobuf.duration_pb2 import Duration

from libs.errors import TokenwayError
from libs.money import Usage
from libs.rpc.client import Client, Stream
from libs.rpc.delta import ProtoDelta
from libs.rpc.generation import question_to_proto
from libs.rpc.method import method
from libs.rpc.money import usage_from_proto, usage_to_proto
from services.router.adapters.principal import principal_to_proto
from services.router.domain.answer import CachedFrom, CacheVerdict, Delta, FinishReason
from services.router.domain.cache_explanation import CacheExplanation, CacheNeighbour
from services.router.domain.ports import CachedAnswer, CacheQuestion
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import generation_pb2

_LOOKUP = method(pb.DESCRIPTOR, "CacheService", "Lookup", pb.LookupRequest, pb.LookupResponse)
_FILL = method(pb.DESCRIPTOR, "CacheService", "Fill", pb.FillRequest, pb.FillResponse)
_EXPLAIN = method(pb.DESCRIPTOR, "CacheService", "Explain", pb.ExplainRequest, pb.ExplainResponse)
_SCOPES = {
    "organisation": pb.CACHE_SCOPE_ORGANISATION,
    "team": pb.CACHE_SCOPE_TEAM,
    "user": pb.CACHE_SCOPE_USER,
    "key": pb.CACHE_SCOPE_KEY,
}
_FILL_TIMEOUT_SECONDS = 2.0
_EXPLAIN_TIMEOUT_SECONDS = 5.0
_VERDICTS = {pb.VERDICT_MISS: CacheVerdict.MISS, pb.VERDICT_BYPASS: CacheVerdict.BYPASSED}
_REASONS = {generation_pb2.FinishReason.Value(f"FINISH_REASON_{each}"): each for each in FinishReason}
_REASONS_BACK = {reason: number for number, reason in _REASONS.items()}


class CacheClient:
    """A slow cache is a miss: the verdict has `lookup_seconds`; the answer after it ten times as long."""

    def __init__(self, client: Client, *, lookup_seconds: float) -> None:
        self._client = client
        self._lookup_seconds = lookup_seconds
        self._log = structlog.get_logger("cache_client")

    async def lookup(self, question: CacheQuestion) -> CachedAnswer | CacheVerdict:
        request = pb.LookupRequest(question=_question(question), tier=question.tier)
        try:
            async with self._client.stream(_LOOKUP, request, timeout_seconds=self._lookup_seconds * 10) as stream:
                return await self._read(stream)
        except (TokenwayError, TimeoutError, StopAsyncIteration) as error:
            self._log.info("lookup failed, going on without the cache", error=repr(error))
            return CacheVerdict.UNAVAILABLE

    async def fill(
        self,
        question: CacheQuestion,
        *,
        request_id: str,
        deltas: Sequence[Delta],
        finish_reason: FinishReason,
        usage: Usage,
    ) -> None:
        stored = pb.Stored(finish_reason=_REASONS_BACK[finish_reason], usage=usage_to_proto(usage))
        messages = _fill(question, request_id, deltas, stored)
        try:
            await self._client.unary(_FILL, messages, timeout_seconds=_FILL_TIMEOUT_SECONDS, outlives_caller=True)
        except TokenwayError as error:
            self._log.info("fill failed, the answer is not cached", error=repr(error))

    async def explain(self, question: CacheQuestion) -> CacheExplanation:
        request = pb.ExplainRequest(question=_question(question), tier=question.tier)
        found = await self._client.unary(_EXPLAIN, request, timeout_seconds=_EXPLAIN_TIMEOUT_SECONDS)
        return CacheExplanation(
            model=question.model.name,
            bypass_reason=found.bypass_reason,
            semantic_bypass_reason=found.semantic_bypass_reason,
            key=found.key,
            partition=found.partition,
            stored=found.stored,
            threshold=found.threshold,
            neighbours=tuple(
                CacheNeighbour(each.source_request_id, each.similarity, each.guard) for each in found.neighbours
            ),
        )

    async def _read(self, stream: Stream[pb.LookupResponse]) -> CachedAnswer | CacheVerdict:
        messages = aiter(stream)
        async with asyncio.timeout(self._lookup_seconds):
            found = (await anext(messages)).found
        # To the end also after a miss: a call that is left early is one that was cancelled, and its span would say so.
        rest = [each async for each in messages]
        if found.verdict != pb.VERDICT_HIT:
            return _VERDICTS.get(found.verdict, CacheVerdict.MISS)
        if not rest or (finish_reason := _REASONS.get(rest[-1].stored.finish_reason)) is None:
            return CacheVerdict.UNAVAILABLE  # broken off, or ended in a way that only a newer version knows
        return CachedAnswer(
            deltas=tuple(ProtoDelta.of(each.delta) for each in rest[:-1]),
            finish_reason=finish_reason,
            origin=_origin(found),
        )


def _question(question: CacheQuestion) -> pb.Question:
    return pb.Question(
        principal=principal_to_proto(question.principal),
        scope=_SCOPES[question.policy.scope],
        model=question.model.name,
        model_revision=question.model.revision,
        input=question_to_proto(question.ask.question),
        reuse_sampled=question.policy.reuse_sampled,
    )


async def _fill(
    question: CacheQuestion, request_id: str, deltas: Sequence[Delta], stored: pb.Stored
) -> AsyncIterator[pb.FillRequest]:
    tags = [f"{key}={value}" for key, value in sorted(question.ask.labels.items())]
    header = pb.FillHeader(
        question=_question(question), request_id=request_id, ttl=_ttl(question), tags=tags, tier=question.tier
    )
    yield pb.FillRequest(header=header)
    whole = generation_pb2.Delta()
    for delta in deltas:
        if isinstance(delta, ProtoDelta):
            whole.MergeFrom(delta.message)
    yield pb.FillRequest(delta=whole)
    yield pb.FillRequest(stored=stored)


def _ttl(question: CacheQuestion) -> Duration:
    asked, allowed = question.ask.cache_ttl_seconds, question.policy.ttl_seconds
    seconds = min(asked, allowed) if asked else allowed
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def _origin(found: pb.Found) -> CachedFrom:
    origin = found.origin
    return CachedFrom(
        source_request_id=origin.source_request_id,
        age_seconds=origin.age.seconds + origin.age.nanos / 1e9,
        similarity=origin.similarity,
        original_usage=usage_from_proto(origin.original_usage),
    )
