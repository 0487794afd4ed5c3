"""The SERVER span of every call, however it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from libs.errors import Reason
from libs.rpc.call import Call, Middleware
from libs.rpc.ending import Ending, ending_of
from libs.telemetry import names

_PROPAGATOR = TraceContextTextMapPropagator()
# OpenTelemetry's RPC conventions: on the server only these are the server's errors; the rest are its caller's.
_OUR_FAULT = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


def tracing(*, tracer: Tracer, entry: bool) -> Middleware:
    """Continues the caller's trace. The span is current for the handler, so that what it does becomes its child.

    On the port where requests enter (`entry`) one that was sampled out and ends badly leaves a late span.
    """

    @asynccontextmanager
    async def surround(call: Call) -> AsyncIterator[None]:
        path = names.rpc_span(call.path)
        attributes: dict[str, AttributeValue] = {
            names.RPC_SYSTEM_NAME: "grpc",
            names.RPC_METHOD: path,
            names.REQUEST_ID: call.request_id,
        }
        context = _PROPAGATOR.extract(call.metadata)
        began_at = time.time_ns()
        span = tracer.start_span(path, context=context, kind=SpanKind.SERVER, attributes=attributes)
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield
            span.set_attribute(names.RPC_RESPONSE_STATUS_CODE, grpc.StatusCode.OK.name)
        except (Exception, asyncio.CancelledError, GeneratorExit) as error:
            ending = ending_of(error, call)
            if entry and not span.is_recording() and ending.code.name in _OUR_FAULT:
                # Sampled out, and it went wrong: one span of its own where the request came in.
                late: dict[str, AttributeValue] = {**attributes, names.LATE: True}
                span = tracer.start_span(path, Context(), SpanKind.SERVER, late, start_time=began_at)
            _ended_badly(span, ending, error)
            raise
        finally:
            span.end()

    return surround


def _ended_badly(span: Span, ending: Ending, error: BaseException) -> None:
    span.set_attribute(names.RPC_RESPONSE_STATUS_CODE, ending.code.name)
    span.set_attribute(names.ERROR_TYPE, ending.reason)
    if ending.code.name in _OUR_FAULT:
        span.set_status(StatusCode.ERROR, ending.reason)
    if ending.reason == Reason.INTERNAL and isinstance(error.__cause__, Exception):
        span.record_exception(error.__cause__)
