"""The RPCs of CacheService. ReportBadHit comes with the semantic tier: an exact hit is the answer to the question."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from libs.rpc.call import Call
from libs.rpc.routes import Route, routes
from services.cache.domain.explain import Explain
from services.cache.domain.fill import Fill
from services.cache.domain.lookup import Hit, Lookup
from services.cache.domain.ports import AnswerStore
from services.cache.domain.replay import replay
from services.cache.domain.stats import Stats
from services.cache.transport import convert, convert_answer, spans
from tokenway.cache.v1 import cache_pb2 as pb


class CacheServicer:
    """One method an RPC."""

    def __init__(self, *, lookup: Lookup, fill: Fill, explain: Explain, answers: AnswerStore, stats: Stats) -> None:
        self._lookup = lookup
        self._fill = fill
        self._explain = explain
        self._answers = answers
        self._stats = stats

    async def Lookup(self, request: pb.LookupRequest, call: Call) -> AsyncIterator[pb.LookupResponse]:
        # `tier` and `single_flight` are not looked at: the least that they allow is the exact tier.
        found = await self._lookup.find(convert.question_of(request))
        spans.tell_found(found)
        yield convert.found_to_proto(found)
        if isinstance(found, Hit):
            for part in replay(found.answer.whole):
                yield convert_answer.part_to_proto(part)
            yield convert_answer.end_to_proto(found.answer.usage)

    async def Fill(self, requests: AsyncIterator[pb.FillRequest], call: Call) -> pb.FillResponse:
        # Closed also when the answer is refused before its end has come.
        async with aclosing(convert.fill_events(requests, traceparent=spans.current_traceparent())) as events:
            result = await self._fill.store(events)
        spans.tell_filled(result)
        return convert.fill_to_proto(result)

    async def Invalidate(self, request: pb.InvalidateRequest, call: Call) -> pb.InvalidateResponse:
        selection = convert.selection_of(request)
        return pb.InvalidateResponse(dropped=await self._answers.drop(request.organisation, selection))

    async def Explain(self, request: pb.ExplainRequest, call: Call) -> pb.ExplainResponse:
        explanation = await self._explain.explain(convert.question_of(request))
        return convert.explanation_to_proto(explanation)

    async def GetStats(self, request: pb.GetStatsRequest, call: Call) -> pb.GetStatsResponse:
        return convert.counts_to_proto(self._stats.counts(request.organisation))


def cache_routes(servicer: CacheServicer) -> tuple[Route, ...]:
    """Every RPC of the service, those that are not served yet included."""
    return routes(pb.DESCRIPTOR, "CacheService", servicer, not_served=frozenset({"ReportBadHit"}))
