"""Outbound calls: deadline, identity, trace and errors for each, in one place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from libs.errors import Reason, TokenwayError
from libs.rpc.call import current_deadline, current_request_id
from libs.rpc.client_metrics import ClientMetrics
from libs.rpc.method import Method
from libs.rpc.middleware.identity import REQUEST_ID_KEY
from libs.rpc.status import CODES, from_rpc_error
from libs.telemetry import names

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
_PROPAGATOR = TraceContextTextMapPropagator()
# Timers fire a millisecond early at times.
_TIMER_SECONDS = 0.002


async def _no_trailers() -> Mapping[str, str | bytes]:
    return {}


class Stream(Generic[Response]):
    """The messages of a streamed answer, and the span of the call that brings them.

    `trailers` waits for what stands after the last message, so it is to be asked once that was read.
    """

    def __init__(
        self,
        *,
        messages: AsyncIterator[Response],
        span: Span,
        trailers: Callable[[], Awaitable[Mapping[str, str | bytes]]] = _no_trailers,
    ) -> None:
        self.span = span
        self.trailers = trailers
        self._messages = messages

    def __aiter__(self) -> AsyncIterator[Response]:
        return self._messages


@dataclass(slots=True)
class _Outbound:
    """A call's span, and how it ended: well, until it is known otherwise."""

    span: Span
    code: grpc.StatusCode = grpc.StatusCode.OK

    def failed(self, code: grpc.StatusCode, kind: str) -> None:
        self.code = code
        self.span.set_attribute(names.ERROR_TYPE, kind)
        self.span.set_status(StatusCode.ERROR, kind)


class Client:
    """Calls one address of one service.

    Every call gets the caller's remaining time, or less; carries request id, trace context and the metadata given here;
    has a CLIENT span; and fails with a TokenwayError. Nothing is retried: the router's domain decides that. `error_of`
    is for a caller to whom addresses are no secret.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        service: str,
        tracer: Tracer,
        metadata: Mapping[str, str] | None = None,
        metrics: ClientMetrics | None = None,
        error_of: Callable[[grpc.aio.AioRpcError], TokenwayError] | None = None,
    ) -> None:
        self._channel = channel
        self._service = service
        self._error_of = error_of or partial(from_rpc_error, service=service)
        self._tracer = tracer
        self._metrics = metrics
        self._metadata = tuple((metadata or {}).items())

    async def close(self) -> None:
        """Ends the connection; calls in flight fail."""
        await self._channel.close()

    async def unary(
        self,
        method: Method[Request, Response],
        request: Request | AsyncIterator[Request],
        *,
        timeout_seconds: float | None = None,
        outlives_caller: bool = False,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> Response:
        """One answer to one request, or to several where the method streams them.

        A call that `outlives_caller` has its own time alone: to settle what a caller used whose deadline has passed.
        """
        with self._call(method, None, attributes) as call:
            timeout = timeout_seconds if outlives_caller else self._timeout(timeout_seconds)
            rpc = self._start(method, request, call.span, timeout)
            with self._failures():
                response: Response = await rpc
            return response

    @asynccontextmanager
    async def stream(
        self,
        method: Method[Request, Response],
        request: Request | AsyncIterator[Request],
        *,
        timeout_seconds: float | None = None,
        span_name: str | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> AsyncIterator[Stream[Response]]:
        """An answer in messages. Leaving the block early cancels the call, down to whoever works for it."""
        with self._call(method, span_name, attributes) as call:
            rpc = self._start(method, request, call.span, self._timeout(timeout_seconds))

            async def trailers() -> Mapping[str, str | bytes]:
                return dict(await rpc.trailing_metadata() or ())

            try:
                async with aclosing(self._messages(rpc, call)) as messages:
                    yield Stream(messages=messages, span=call.span, trailers=trailers)
                await self._left(rpc, call)
            finally:
                rpc.cancel()

    async def _left(self, rpc: Any, call: _Outbound) -> None:
        """How a call has ended that is not read any further, whether or not anybody has read so far."""
        if rpc.cancelled() or not rpc.done():
            call.code = grpc.StatusCode.CANCELLED if call.code is grpc.StatusCode.OK else call.code
        elif call.code is grpc.StatusCode.OK and (code := await rpc.code()) is not grpc.StatusCode.OK:
            initial, trailing = await rpc.initial_metadata(), await rpc.trailing_metadata()
            error = self._error_of(grpc.aio.AioRpcError(code, initial, trailing))
            call.failed(code, error.reason)

    async def _messages(self, rpc: Any, call: _Outbound) -> AsyncGenerator[Any, None]:
        try:
            with self._failures():
                async for each in rpc:
                    yield each
        except TokenwayError as error:
            # Here, for whoever reads may be able to go on without, and say nothing of it.
            call.failed(CODES[error.reason], error.reason)
            raise

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise self._error_of(error) from error
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if waiting is None or waiting.cancelling():
                raise
            # Nobody cancelled whoever waits: grpc.aio says the same of a call whose channel was closed.
            message = f"{self._service}: the connection was closed in mid-call; ask again"
            raise TokenwayError(Reason.CANCELLED, message, {"service": self._service}) from None

    def _start(self, method: Method[Any, Any], request: Any, span: Span, timeout_seconds: float | None) -> Any:
        kind = "_".join("stream" if streams else "unary" for streams in method.shape.value)
        start = getattr(self._channel, kind)(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, context=set_span_in_context(span))
        metadata = (*self._metadata, (REQUEST_ID_KEY, current_request_id.get()), *carrier.items())
        return start(request, timeout=timeout_seconds, metadata=metadata)

    def _timeout(self, own_seconds: float | None) -> float | None:
        deadline = current_deadline.get()
        if deadline is None:
            return own_seconds
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            message = f"no time is left to call {self._service}; allow more time"
            raise TokenwayError(Reason.OUT_OF_TIME, message, metadata={"phase": self._service})
        return remaining if own_seconds is None else min(own_seconds, remaining)

    @contextmanager
    def _call(
        self, method: Method[Any, Any], name: str | None, attributes: Mapping[str, AttributeValue] | None
    ) -> Iterator[_Outbound]:
        path, began = names.rpc_span(method.path), time.monotonic()
        given = {names.RPC_SYSTEM_NAME: "grpc", names.RPC_METHOD: path, **(attributes or {})}
        # Not made current: inside a generator that would leak to whoever consumes it.
        call = _Outbound(self._tracer.start_span(name or path, kind=SpanKind.CLIENT, attributes=given))
        try:
            yield call
        except TokenwayError as error:
            call.failed(CODES[error.reason], error.reason)
            raise
        except TimeoutError:
            # Whoever waited for the answer gave up.
            call.failed(grpc.StatusCode.DEADLINE_EXCEEDED, Reason.OUT_OF_TIME)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            reason = Reason.OUT_OF_TIME if _is_past(current_deadline.get()) else Reason.CANCELLED
            call.failed(CODES[reason], reason)
            raise
        except Exception as error:
            call.failed(grpc.StatusCode.UNKNOWN, type(error).__name__)
            raise
        finally:
            call.span.set_attribute(names.RPC_RESPONSE_STATUS_CODE, call.code.name)
            call.span.end()
            if self._metrics is not None:
                self._metrics.ended(self._service, path, call.code.name, seconds=time.monotonic() - began)


def _is_past(deadline: float | None) -> bool:
    """Whether a cancellation is the deadline's doing: what it ends is cancelled like what its caller leaves."""
    return deadline is not None and deadline - time.monotonic() < _TIMER_SECONDS
