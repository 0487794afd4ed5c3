"""The cache service behind the Cache port. Fails open: the worst that a cache may do is to be of no use."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from hashlib import blake2b

import structlog
from google.protobuf.duration_pb2 import Duration

from libs.clock import Clock
from libs.errors import TokenwayError
from libs.rpc.call import current_deadline
from libs.rpc.client import Client
from libs.rpc.delta import ProtoDelta
from libs.rpc.generation import question_to_proto
from libs.rpc.method import method
from libs.rpc.money import usage_to_proto
from services.router.adapters.asked_lately import AskedLately
from services.router.adapters.cache_lookup import CacheLookup
from services.router.adapters.principal import principal_to_proto
from services.router.domain.answer import Delta, FinishReason
from services.router.domain.cache_explanation import CacheExplanation, CacheNeighbour
from services.router.domain.ports import AnswerEnd, AnswerFailed, CacheQuestion
from services.router.domain.principal import Principal
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import generation_pb2, principal_pb2

_LOOKUP = method(pb.DESCRIPTOR, "CacheService", "Lookup", pb.LookupRequest, pb.LookupResponse)
_FILL = method(pb.DESCRIPTOR, "CacheService", "Fill", pb.FillRequest, pb.FillResponse)
_REPORT_BAD_HIT = method(pb.DESCRIPTOR, "CacheService", "ReportBadHit", pb.ReportBadHitRequest, pb.ReportBadHitResponse)
_EXPLAIN = method(pb.DESCRIPTOR, "CacheService", "Explain", pb.ExplainRequest, pb.ExplainResponse)
_SCOPES = {
    "organisation": pb.CACHE_SCOPE_ORGANISATION,
    "team": pb.CACHE_SCOPE_TEAM,
    "user": pb.CACHE_SCOPE_USER,
    "key": pb.CACHE_SCOPE_KEY,
}
_FILL_TIMEOUT_SECONDS = 2.0
_ADMIN_TIMEOUT_SECONDS = 5.0
_REASONS = {each: generation_pb2.FinishReason.Value(f"FINISH_REASON_{each}") for each in FinishReason}


class CacheClient:
    """A slow cache is a miss: the exact verdict, with its answer, has `lookup_seconds`; longer where the cache has just
    had something for the same question.
    """

    def __init__(self, client: Client, *, lookup_seconds: float, semantic_seconds: float, clock: Clock) -> None:
        self._client = client
        self._lately = AskedLately(clock=clock)
        self._lookup_seconds, self._semantic_seconds = lookup_seconds, semantic_seconds
        self._log = structlog.get_logger("cache_client")

    def lookup(self, question: CacheQuestion, *, single_flight: bool, refresh: bool) -> CacheLookup:
        request = pb.LookupRequest(
            question=_question(question),
            tier=question.tier,
            single_flight=single_flight,
            tags=_tags(question),
            refresh=refresh,
        )
        return CacheLookup(
            partial(self._client.stream, _LOOKUP),
            request=request,
            question=_by_content(request, question),
            lately=self._lately,
            lookup_seconds=self._lookup_seconds,
            semantic_seconds=self._semantic_seconds,
        )

    async def fill(
        self,
        question: CacheQuestion,
        answer: AsyncGenerator[Sequence[Delta] | AnswerEnd | AnswerFailed],
        *,
        request_id: str,
        lead_token: str,
        as_of: int,
        live: bool,
    ) -> None:
        header = pb.FillHeader(
            question=_question(question),
            request_id=request_id,
            ttl=_ttl(question),
            tags=_tags(question),
            tier=question.tier,
            lead_token=lead_token,
            as_of=as_of,
        )
        timeout_seconds = _live_seconds() if live else _FILL_TIMEOUT_SECONDS
        try:
            # Not closed here: of a call that has failed gRPC may still be waiting for the next message.
            messages = _fill(header, answer)
            await self._client.unary(_FILL, messages, timeout_seconds=timeout_seconds, outlives_caller=True)
        except TokenwayError as error:
            self._log.info("fill failed, the answer is not cached", error=repr(error))

    async def report_bad_hit(self, principal: Principal, request_id: str) -> bool:
        request = pb.ReportBadHitRequest(principal=principal_to_proto(principal), request_id=request_id)
        return (await self._client.unary(_REPORT_BAD_HIT, request, timeout_seconds=_ADMIN_TIMEOUT_SECONDS)).evicted

    async def explain(self, question: CacheQuestion) -> CacheExplanation:
        request = pb.ExplainRequest(question=_question(question), tier=question.tier)
        found = await self._client.unary(_EXPLAIN, request, timeout_seconds=_ADMIN_TIMEOUT_SECONDS)
        return CacheExplanation(
            model=question.model.name,
            bypass_reason=found.bypass_reason,
            semantic_bypass_reason=found.semantic_bypass_reason,
            key=found.key,
            partition=found.partition,
            stored=found.stored,
            threshold=found.threshold,
            votes_threshold=found.votes_threshold,
            neighbours=tuple(
                CacheNeighbour(each.source_request_id, each.similarity, each.guard, each.votes)
                for each in found.neighbours
            ),
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


def _tags(question: CacheQuestion) -> list[str]:
    return [f"{key}={value}" for key, value in sorted(question.ask.labels.items())]


def _by_content(request: pb.LookupRequest, question: CacheQuestion) -> bytes:
    """32 bytes, the same for requests that may share an answer, whoever of them asks."""
    asked = pb.LookupRequest()
    asked.CopyFrom(request)
    asked.ClearField("tags")
    if question.policy.scope == "organisation":
        asked.question.principal.CopyFrom(principal_pb2.Principal(organisation=question.principal.organisation))
    return blake2b(asked.SerializeToString(deterministic=True), digest_size=32).digest()


async def _fill(
    header: pb.FillHeader, answer: AsyncGenerator[Sequence[Delta] | AnswerEnd | AnswerFailed]
) -> AsyncGenerator[pb.FillRequest]:
    async with aclosing(answer):
        yield pb.FillRequest(header=header)
        async for come in answer:
            if isinstance(come, AnswerEnd):
                yield pb.FillRequest(stored=_stored(come))
            elif isinstance(come, AnswerFailed):
                yield pb.FillRequest(failed=pb.Failed())
            else:
                yield pb.FillRequest(delta=_joined(come))


def _joined(deltas: Sequence[Delta]) -> generation_pb2.Delta:
    whole = generation_pb2.Delta()
    for delta in deltas:
        if isinstance(delta, ProtoDelta):
            whole.MergeFrom(delta.message)
    return whole


def _stored(end: AnswerEnd) -> pb.Stored:
    return pb.Stored(
        finish_reason=_REASONS[end.finish_reason],
        usage=usage_to_proto(end.usage),
        for_followers_alone=end.for_followers_alone,
    )


def _live_seconds() -> float | None:
    """As long as the answer may take, and what any fill may take after that."""
    deadline = current_deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic()) + _FILL_TIMEOUT_SECONDS


def _ttl(question: CacheQuestion) -> Duration:
    asked, allowed = question.ask.cache_ttl_seconds, question.policy.ttl_seconds
    seconds = min(asked, allowed) if asked else allowed
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
