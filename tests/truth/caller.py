"""Callers of one router: bare gRPC over a socket, each request in a trace that begins with the caller's own span."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from libs.rpc.middleware.identity import REQUEST_ID_KEY
from libs.rpc.status import from_rpc_error, receipt_of
from libs.telemetry import names
from tests.truth.seen import Asked, Seen
from tokenway.client.router import STREAM_GENERATE
from tokenway.common.v1 import money_pb2
from tokenway.router.v1 import router_pb2

_PROPAGATOR = TraceContextTextMapPropagator()


class Caller:
    """Asks a router, and remembers what it saw. `began` is told of each request before it is sent."""

    def __init__(
        self, channel: grpc.aio.Channel, *, router: str, tracer: Tracer, began: Callable[[Seen], None]
    ) -> None:
        rpc = STREAM_GENERATE
        self._call: Any = channel.unary_stream(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        self.router = router
        self._tracer, self._began = tracer, began

    async def ask(self, ending: str, asked: Asked, *, maker: str = "") -> Seen:
        """The request's end, whatever it is: nothing that a router does is an exception here."""
        span = self._tracer.start_span(
            names.chat_span("small"), Context(), SpanKind.CLIENT, {names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT}
        )
        context, now = span.get_span_context(), time.time_ns()
        seen = Seen(
            ending=ending,
            router=self.router,
            trace_id=f"{context.trace_id:032x}",
            span_id=f"{context.span_id:016x}",
            sent_at=now,
            deadline_at=now + int(asked.deadline_seconds * 1e9),
            maker=maker,
        )
        self._began(seen)
        try:
            await self._until_its_end(asked, seen, span)
        finally:
            seen.ended_at = time.time_ns()
            _describe(span, seen)
            span.end()
        return seen

    async def _until_its_end(self, asked: Asked, seen: Seen, span: Span) -> None:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, set_span_in_context(span))
        call = self._call(
            router_pb2.StreamGenerateRequest(request=asked.request),
            timeout=asked.deadline_seconds,
            metadata=(("authorization", f"Bearer {asked.key}"), *carrier.items()),
        )
        try:
            async with asyncio.timeout(asked.leave_after_seconds):
                await _read(call, asked, seen)
        except TimeoutError:
            seen.leave()
        except grpc.aio.AioRpcError as error:
            _failed(seen, error)
        finally:
            call.cancel()


async def _read(call: Any, asked: Asked, seen: Seen) -> None:
    seen.request_id = dict(await call.initial_metadata() or ()).get(REQUEST_ID_KEY, "")
    while not asked.leave_once(seen):
        event = await call.read()
        if event is grpc.aio.EOF:
            return
        seen.event(event)
    seen.leave()


def _failed(seen: Seen, error: grpc.aio.AioRpcError) -> None:
    ours = from_rpc_error(error, "router")
    seen.code, seen.reason = error.code().name, ours.reason
    seen.request_id = seen.request_id or str(dict(error.trailing_metadata() or ()).get(REQUEST_ID_KEY, ""))
    receipt = receipt_of(ours, money_pb2.Receipt)
    seen.receipt = receipt if isinstance(receipt, money_pb2.Receipt) else None


def _describe(span: Span, seen: Seen) -> None:
    span.set_attribute(names.RPC_RESPONSE_STATUS_CODE, seen.code)
    if seen.code != "OK" and not seen.left:
        span.set_attribute(names.ERROR_TYPE, seen.reason)
        span.set_status(StatusCode.ERROR, seen.reason)
