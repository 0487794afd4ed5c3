"""The RPCs of CacheService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from libs.rpc.call import Call
from libs.rpc.routes import Route, routes
from services.cache.domain.bad_hit import ReportBadHit
from services.cache.domain.explain import Explain
from services.cache.domain.figures import ReadFigures
from services.cache.domain.flight import Leader
from services.cache.domain.hit_log import HitLog
from services.cache.domain.live_fill import LiveFill
from services.cache.domain.lookup import Lookup
from services.cache.domain.ports import AnswerStore
from services.cache.transport import convert, spans
from tokenway.cache.v1 import cache_pb2 as pb


class CacheServicer:
    """One method an RPC."""

    def __init__(
        self,
        *,
        lookup: Lookup,
        fill: LiveFill,
        explain: Explain,
        answers: AnswerStore,
        figures: ReadFigures,
        hits: HitLog,
        bad_hits: ReportBadHit,
    ) -> None:
        self._lookup = lookup
        self._fill = fill
        self._explain = explain
        self._answers = answers
        self._figures = figures
        self._hits = hits
        self._bad_hits = bad_hits

    async def Lookup(self, request: pb.LookupRequest, call: Call) -> AsyncIterator[pb.LookupResponse]:
        question, tier = convert.question_of(request), convert.tier_of(request)
        spans.tell_tier(tier)
        leader = Leader(call.request_id, spans.current_traceparent()) if request.single_flight else None
        if request.refresh:
            events = self._lookup.refreshed(question)
        else:
            events = self._lookup.events(question, tier=tier, leader=leader, tags=convert.tags_of(request))
        async with aclosing(events):
            async for event in events:
                self._hits.heard(event, question.principal, call.request_id)
                spans.tell(event)
                yield convert.lookup_event_to_proto(event)

    async def Fill(self, requests: AsyncIterator[pb.FillRequest], call: Call) -> pb.FillResponse:
        # Closed also when the answer is refused before its end has come.
        async with aclosing(convert.fill_events(requests, traceparent=spans.current_traceparent())) as events:
            result = await self._fill.store(events)
        spans.tell_filled(result)
        return convert.fill_to_proto(result)

    async def Invalidate(self, request: pb.InvalidateRequest, call: Call) -> pb.InvalidateResponse:
        selection = convert.selection_of(request)
        return pb.InvalidateResponse(dropped=await self._answers.drop(request.organisation, selection))

    async def ReportBadHit(self, request: pb.ReportBadHitRequest, call: Call) -> pb.ReportBadHitResponse:
        principal, is_admin = convert.reporter_of(request)
        evicted = await self._bad_hits.report(principal, request.request_id, of_anyone=is_admin)
        return pb.ReportBadHitResponse(evicted=evicted)

    async def Explain(self, request: pb.ExplainRequest, call: Call) -> pb.ExplainResponse:
        explanation = await self._explain.explain(convert.question_of(request), convert.tier_of(request))
        return convert.explanation_to_proto(explanation)

    async def GetStats(self, request: pb.GetStatsRequest, call: Call) -> pb.GetStatsResponse:
        return convert.figures_to_proto(await self._figures.of(request.organisation))


def cache_routes(servicer: CacheServicer) -> tuple[Route, ...]:
    """Every RPC of the service."""
    return routes(pb.DESCRIPTOR, "CacheService", servicer)
