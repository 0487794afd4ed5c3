"""RouterService: each RPC is a line of conversion round a line of the domain."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

from libs.rpc.call import SOFT_LIMITS_KEY, Call
from libs.rpc.collect import collected
from libs.rpc.routes import Route, routes
from services.router.domain.generate import Caller, Generate
from services.router.domain.ports import PassedLimit
from services.router.domain.principal import Principal
from services.router.transport.admin_servicer import AdminServicer
from services.router.transport.cache_admin_servicer import CacheAdminServicer
from services.router.transport.convert import event_to_proto, model_to_proto, plan_to_proto
from services.router.transport.question import ask_from_proto
from tokenway.router.v1 import admin_pb2
from tokenway.router.v1 import router_pb2 as pb

_MOST_WARNINGS = 16
# Defined, and built by later work: they answer NOT_SERVED.
_LATER = frozenset({"BatchGenerate", "CountTokens", "Embed"})


class RouterServicer:
    """The public API."""

    def __init__(self, *, generate: Generate, max_prompt_bytes: int) -> None:
        self._generate = generate
        self._max_prompt_bytes = max_prompt_bytes

    async def StreamGenerate(
        self, request: pb.StreamGenerateRequest, call: Call
    ) -> AsyncGenerator[pb.StreamGenerateResponse]:
        ask = ask_from_proto(request.request, max_prompt_bytes=self._max_prompt_bytes, within=request)
        async with aclosing(self._generate.stream(ask, _caller(call))) as events:
            async for event in events:
                yield event_to_proto(event)

    async def Generate(self, request: pb.GenerateRequest, call: Call) -> pb.GenerateResponse:
        async with aclosing(self.StreamGenerate(pb.StreamGenerateRequest(request=request), call)) as events:
            return await collected(events)

    async def ExplainRoute(self, request: pb.ExplainRouteRequest, call: Call) -> pb.ExplainRouteResponse:
        ask = ask_from_proto(request.request, max_prompt_bytes=self._max_prompt_bytes)
        return plan_to_proto(self._generate.explain(ask, call.get(Principal)))

    async def ListModels(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        models = self._generate.models(call.get(Principal))
        return pb.ListModelsResponse(models=[model_to_proto(each, ready=ready) for each, ready in models])

    async def ReportBadHit(self, request: pb.ReportBadHitRequest, call: Call) -> pb.ReportBadHitResponse:
        evicted = await self._generate.report_bad_hit(request.request_id, call.get(Principal))
        return pb.ReportBadHitResponse(evicted=evicted)


def router_routes(servicer: RouterServicer, admin: AdminServicer, cache_admin: CacheAdminServicer) -> tuple[Route, ...]:
    """Everything on the public port."""
    return (
        *routes(pb.DESCRIPTOR, "RouterService", servicer, not_served=_LATER),
        *routes(admin_pb2.DESCRIPTOR, "AdminService", admin, cache_admin),
    )


def _caller(call: Call) -> Caller:
    return Caller(
        principal=call.get(Principal),
        request_id=call.request_id,
        remaining_seconds=call.remaining_seconds,
        on_receipt=call.attachments.append,
        sending_seconds=lambda: call.sending_seconds,
        on_warnings=partial(_warn, call),
    )


def _warn(call: Call, passed: Sequence[PassedLimit]) -> None:
    # All that a request can touch would not fit into a header.
    listed = [str(each) for each in passed[:_MOST_WARNINGS]]
    more = [f"and {len(passed) - _MOST_WARNINGS} more"] if len(passed) > _MOST_WARNINGS else []
    call.trailing_metadata[SOFT_LIMITS_KEY] = ", ".join(listed + more)
