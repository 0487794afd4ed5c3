"""Our handlers beneath grpc.aio: the only file that knows how its server side behaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from libs.errors import FieldViolation, Reason, TokenwayError, invalid_request
from libs.rpc.call import Call, Middleware
from libs.rpc.failure import RpcFailureError
from libs.rpc.method import Shape
from libs.rpc.routes import Route
from libs.rpc.status import DETAILS_KEY, to_status

_BUG = TokenwayError(Reason.INTERNAL, "")
Context = Any  # grpc.aio.ServicerContext, whose stubs are generic over types that a generic handler does not have


class OpenCalls:
    """Counts the calls that a draining server has to wait for."""

    def __init__(self) -> None:
        self._count = 0
        self._none_open = asyncio.Event()
        self._none_open.set()

    @contextmanager
    def counted(self, route: Route) -> Iterator[None]:
        if route.endless:
            yield
            return
        self._count += 1
        self._none_open.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none_open.set()

    async def wait_until_none(self) -> None:
        await self._none_open.wait()


class GrpcHandlers(grpc.GenericRpcHandler):
    """Every route, inside the chain. Generic handlers: registered ones cost 9 % for 20 methods in grpcio 1.85."""

    def __init__(self, *, routes: Sequence[Route], surround: Middleware, open_calls: OpenCalls) -> None:
        self._by_path = {each.method.path: _adapted(each, surround, open_calls) for each in routes}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._by_path.get(handler_call_details.method)


_MAKERS: dict[Shape, Callable[..., grpc.RpcMethodHandler[Any, Any]]] = {
    Shape.UNARY_UNARY: grpc.unary_unary_rpc_method_handler,
    Shape.UNARY_STREAM: grpc.unary_stream_rpc_method_handler,
    Shape.STREAM_UNARY: grpc.stream_unary_rpc_method_handler,
    Shape.STREAM_STREAM: grpc.stream_stream_rpc_method_handler,
}


def _adapted(route: Route, surround: Middleware, open_calls: OpenCalls) -> grpc.RpcMethodHandler[Any, Any]:
    streams_requests, streams_responses = route.method.shape.value
    answer = _stream if streams_responses else _unary
    parse: Callable[[Route, Any], Any] = _parse_each if streams_requests else _parse
    log = structlog.get_logger("rpc")

    async def behaviour(raw: Any, context: Context) -> Message | None:
        call = _call(route, context)
        with open_calls.counted(route):
            try:
                async with surround(call):
                    if call.initial_metadata:
                        await _sent(context.send_initial_metadata(tuple(call.initial_metadata.items())))
                    request = parse(route, raw)
                    try:
                        response = await answer(route, request, call, context)
                    finally:
                        if streams_requests:  # what the handler has not read is nobody's any more
                            await request.aclose()
            except RpcFailureError as failure:
                await _abort(failure, call, context)
            except Exception as error:
                # A bug in the chain itself. Left to grpc.aio, its text would go to the caller.
                log.error("the chain failed", path=call.path, exc_info=error)
                await _abort(RpcFailureError(to_status(_BUG, call.request_id)), call, context)
            if call.trailing_metadata:
                context.set_trailing_metadata(tuple(call.trailing_metadata.items()))
            return response

    # Requests stay bytes until they are inside the chain, so that one that does not parse is an error like any other.
    return _MAKERS[route.method.shape](behaviour, response_serializer=_serialize)


def _call(route: Route, context: Context) -> Call:
    remaining = context.time_remaining()
    return Call(
        path=route.method.path,
        shape=route.method.shape,
        metadata={key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)},
        peer=context.peer(),
        deadline=None if remaining is None else time.monotonic() + remaining,
    )


async def _unary(route: Route, request: Any, call: Call, context: Context) -> Message:
    response: Message = await route.handler(request, call)  # type: ignore[misc]  # unary by the route's shape
    return response


async def _stream(route: Route, request: Any, call: Call, context: Context) -> None:
    responses: Any = route.handler(request, call)
    async with aclosing(responses):
        async for each in responses:
            began = time.monotonic()
            try:
                await _sent(context.write(each))
            finally:  # also where a slow reader is given up
                call.sending_seconds += time.monotonic() - began


async def _sent(sending: Awaitable[None]) -> None:
    try:
        await sending
    except (grpc.aio.InternalError, grpc.aio.UsageError) as error:
        # The batch fails when the caller is gone; the task's cancellation may come only after it.
        raise TokenwayError(Reason.CANCELLED, "the caller left") from error


async def _abort(failure: RpcFailureError, call: Call, context: Context) -> NoReturn:
    status = failure.status
    trailing = {**call.initial_metadata, **call.trailing_metadata, DETAILS_KEY: status.SerializeToString()}
    try:
        await context.abort(_CODES[status.code], status.message, tuple(trailing.items()))
    except (grpc.aio.InternalError, grpc.aio.UsageError) as error:
        # Nobody is there to be told. grpc.aio would log that as an error of ours.
        raise asyncio.CancelledError from error
    raise AssertionError("abort always raises")


def _parse(route: Route, raw: bytes) -> Message:
    try:
        message: Message = route.method.request.FromString(raw)
    except DecodeError as error:
        kind = route.method.request.DESCRIPTOR.full_name
        raise invalid_request(FieldViolation("", f"the bytes are no {kind}; compile the protos anew")) from error
    return message


async def _parse_each(route: Route, raw: AsyncIterator[bytes]) -> AsyncGenerator[Message]:
    async for each in raw:
        yield _parse(route, each)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


_CODES = {each.value[0]: each for each in grpc.StatusCode}
