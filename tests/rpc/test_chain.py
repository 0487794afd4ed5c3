"""The chain on every shape, for every ending: one table, through a real server on a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.trace import SpanKind, StatusCode

from libs.errors import Reason, TokenwayError
from libs.rpc.call import Call, current_deadline
from libs.rpc.client import Client
from libs.rpc.method import Method, Shape
from libs.rpc.routes import Route
from libs.rpc.server import RpcServer
from libs.telemetry import names
from libs.testing.left_open import left_open
from libs.testing.runtime import MESH_TOKEN, Recorded, recorded_runtime

SHAPES = tuple(Shape)
BUDGET = TokenwayError(Reason.BUDGET_EXCEEDED, "spent", metadata={"limit": "10"}, retry_after_seconds=2.5)


def method_of(shape: Shape) -> Method[Any, Any]:
    return Method("tokenway.test.v1.EchoService", shape.name.title(), StringValue, StringValue, shape)


class Echo:
    """Obeys the first word of the request; remembers how it ended."""

    def __init__(self) -> None:
        self.ended_by: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.request_ids: list[str] = []
        self.called = asyncio.Event()

    def handler(self, shape: Shape) -> Any:
        return self.stream if shape.value[1] else self.unary

    async def unary(self, request: Any, call: Call) -> Message:
        self.request_ids.append(call.request_id)
        try:
            word = await first_word(request)
            self.called.set()
            if word == "refuse":
                raise BUDGET
            if word == "crash":
                raise ZeroDivisionError("a secret of ours")
            if word == "wait":
                await asyncio.sleep(3600)
        except BaseException as error:
            self.ended_by.set_result(type(error).__name__)
            raise
        return StringValue(value=word)

    async def stream(self, request: Any, call: Call) -> AsyncIterator[Message]:
        yield await self.unary(request, call)
        yield StringValue(value="last")


async def first_word(request: StringValue | AsyncIterator[StringValue]) -> str:
    if isinstance(request, StringValue):
        return request.value
    words: list[str] = [each.value async for each in request]
    return words[0]


@asynccontextmanager
async def echo_service(
    tmp_path: Path, *, public: bool = False, sampling_ratio: float = 1
) -> AsyncIterator[tuple[Client, Echo, Recorded, RpcServer]]:
    recorded, echo = recorded_runtime(sampling_ratio=sampling_ratio), Echo()
    routes = tuple(Route(method_of(each), echo.handler(each)) for each in SHAPES)
    server = RpcServer(
        name="echo",
        listen=f"unix:{tmp_path}/echo.sock",
        routes=routes,
        runtime=recorded.runtime,
        public=public,
        drain_seconds=5,
    )
    async with server:
        client = recorded.runtime.client(server.address, service="echo")
        yield client, echo, recorded, server
        await client.close()


async def requests(word: str) -> AsyncIterator[StringValue]:
    yield StringValue(value=word)
    yield StringValue(value="more")


async def call(client: Client, shape: Shape, word: str, timeout_seconds: float | None = 10) -> list[str]:
    request: Any = requests(word) if shape.value[0] else StringValue(value=word)
    if not shape.value[1]:
        return [(await client.unary(method_of(shape), request, timeout_seconds=timeout_seconds)).value]
    async with client.stream(method_of(shape), request, timeout_seconds=timeout_seconds) as stream:
        return [each.value async for each in stream]


def server_span(recorded: Recorded) -> Any:
    (span,) = [each for each in recorded.spans() if each.kind is SpanKind.SERVER]
    return span


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_call_that_succeeds_is_answered_counted_and_traced(shape: Shape, tmp_path: Path) -> None:
    async with echo_service(tmp_path) as (client, _, recorded, _):
        assert await call(client, shape, "hello") == (["hello", "last"] if shape.value[1] else ["hello"])
    server, path = server_span(recorded), method_of(shape).path.removeprefix("/")
    caller: Any = next(each for each in recorded.spans() if each.kind is SpanKind.CLIENT)
    assert server.parent.span_id == caller.context.span_id
    assert (
        server.attributes[names.RPC_RESPONSE_STATUS_CODE] == caller.attributes[names.RPC_RESPONSE_STATUS_CODE] == "OK"
    )
    assert server.status.status_code is StatusCode.UNSET
    assert recorded.sample("tokenway_rpc_requests_total", method=path, code="OK") == 1


@pytest.mark.parametrize("shape", SHAPES)
async def test_an_error_of_the_domain_arrives_with_its_numbers(shape: Shape, tmp_path: Path) -> None:
    async with echo_service(tmp_path) as (client, _, recorded, _):
        with pytest.raises(TokenwayError) as caught:
            await call(client, shape, "refuse")
    error = caught.value
    assert (error.reason, error.message, error.metadata, error.retry_after_seconds) == (
        Reason.BUDGET_EXCEEDED,
        "spent",
        {"limit": "10"},
        2.5,
    )
    assert server_span(recorded).attributes[names.RPC_RESPONSE_STATUS_CODE] == "RESOURCE_EXHAUSTED"
    assert server_span(recorded).status.status_code is StatusCode.UNSET, "a spent budget is no fault of the server"


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_bug_is_internal_and_says_nothing_of_its_cause(shape: Shape, tmp_path: Path) -> None:
    async with echo_service(tmp_path) as (client, _, recorded, _):
        with pytest.raises(TokenwayError) as caught:
            await call(client, shape, "crash")
    assert caught.value.reason is Reason.INTERNAL
    assert "secret" not in str(caught.value)
    span = server_span(recorded)
    assert span.status.status_code is StatusCode.ERROR
    assert span.events[0].attributes["exception.type"] == "ZeroDivisionError"


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_deadline_stops_the_handler_and_says_so(shape: Shape, tmp_path: Path) -> None:
    async with echo_service(tmp_path) as (client, echo, recorded, _):
        with pytest.raises(TokenwayError) as caught:
            await call(client, shape, "wait", timeout_seconds=0.3)
        assert await asyncio.wait_for(echo.ended_by, 60) == "CancelledError"
    assert caught.value.reason is Reason.OUT_OF_TIME
    assert server_span(recorded).attributes[names.RPC_RESPONSE_STATUS_CODE] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_caller_that_leaves_stops_the_handler(shape: Shape, tmp_path: Path) -> None:
    async with echo_service(tmp_path) as (client, echo, recorded, _):
        calling = asyncio.create_task(call(client, shape, "wait"))
        await asyncio.wait_for(echo.called.wait(), 60)
        calling.cancel()
        with suppress(asyncio.CancelledError):
            await calling
        assert await asyncio.wait_for(echo.ended_by, 60) == "CancelledError"
    for span in recorded.spans():
        assert span.attributes is not None
        assert span.attributes[names.RPC_RESPONSE_STATUS_CODE] == "CANCELLED"
    assert len(recorded.spans()) == 2, "one span each side, and both have ended"


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_call_that_ends_with_its_callers_own_deadline_says_so_and_not_that_somebody_left(
    shape: Shape, tmp_path: Path
) -> None:
    async with echo_service(tmp_path) as (client, echo, recorded, _):
        token = current_deadline.set(time.monotonic() + 0.3)
        # The timer of whoever serves the caller, as middleware.deadline has it; the call itself would have an hour.
        with suppress(TimeoutError, TokenwayError):
            async with asyncio.timeout(0.3):
                await call(client, shape, "wait", timeout_seconds=3600)
        current_deadline.reset(token)
        await asyncio.wait_for(echo.ended_by, 60)
    for span in recorded.spans():
        assert span.attributes is not None
        assert span.attributes[names.RPC_RESPONSE_STATUS_CODE] == "DEADLINE_EXCEEDED"
        assert span.attributes[names.ERROR_TYPE] == Reason.OUT_OF_TIME


async def test_a_stream_that_its_reader_waited_for_in_vain_ended_by_time(tmp_path: Path) -> None:
    async with echo_service(tmp_path) as (client, _, recorded, _):
        with suppress(TimeoutError):
            async with client.stream(method_of(Shape.UNARY_STREAM), StringValue(value="wait")) as stream:
                async with asyncio.timeout(0.1):
                    await anext(aiter(stream))
    caller: Any = next(each for each in recorded.spans() if each.kind is SpanKind.CLIENT)
    assert caller.attributes[names.RPC_RESPONSE_STATUS_CODE] == "DEADLINE_EXCEEDED"
    assert caller.attributes[names.ERROR_TYPE] == Reason.OUT_OF_TIME


async def test_a_bad_ending_leaves_a_span_even_when_its_trace_was_sampled_out(tmp_path: Path) -> None:
    async with echo_service(tmp_path, public=True, sampling_ratio=0) as (client, _, recorded, _):
        await call(client, Shape.UNARY_UNARY, "hello")
        with pytest.raises(TokenwayError):
            await call(client, Shape.UNARY_UNARY, "refuse")
        with pytest.raises(TokenwayError):
            await call(client, Shape.UNARY_UNARY, "crash")
    (span,) = recorded.spans()
    assert span.parent is None
    assert span.attributes is not None
    assert span.attributes[names.LATE] is True
    assert span.attributes[names.RPC_RESPONSE_STATUS_CODE] == "INTERNAL"
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time < span.end_time


async def test_a_stranger_is_refused_on_an_internal_port(tmp_path: Path) -> None:
    async with echo_service(tmp_path) as (_, echo, _, server):
        stranger = recorded_runtime(mesh_token="").runtime.client(server.address, service="echo")
        with pytest.raises(TokenwayError) as caught:
            await call(stranger, Shape.UNARY_UNARY, "hello")
        await stranger.close()
    assert caught.value.reason is Reason.NOT_OF_THE_MESH
    assert not echo.request_ids, "nothing behind the guard ran"


async def test_a_public_port_makes_the_request_id_and_sends_it_at_once(tmp_path: Path) -> None:
    async with (
        echo_service(tmp_path, public=True) as (_, echo, _, server),
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        start: Any = channel.unary_stream(method_of(Shape.UNARY_STREAM).path)
        rpc = start(StringValue(value="wait").SerializeToString(), metadata=(("x-request-id", "forged"),))
        sent = dict(await asyncio.wait_for(rpc.initial_metadata(), 60))
        rpc.cancel()
    assert echo.request_ids == [sent["x-request-id"]]
    assert sent["x-request-id"] != "forged"


async def test_bytes_that_do_not_parse_are_an_invalid_request(tmp_path: Path) -> None:
    async with (
        echo_service(tmp_path, public=True) as (_, _, _, server),
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        send: Any = channel.unary_unary(method_of(Shape.UNARY_UNARY).path)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_draining_server_lets_calls_end_and_takes_no_new_ones(tmp_path: Path) -> None:
    recorded, entered, go = recorded_runtime(), asyncio.Event(), asyncio.Event()

    async def slow(request: StringValue, call: Call) -> Message:
        entered.set()
        await go.wait()
        return request

    route = Route(method_of(Shape.UNARY_UNARY), slow)
    server = RpcServer(name="slow", listen=f"unix:{tmp_path}/slow.sock", routes=(route,), runtime=recorded.runtime)
    await server.__aenter__()
    client = recorded.runtime.client(server.address, service="slow")
    begun = asyncio.create_task(call(client, Shape.UNARY_UNARY, "begun"))
    await entered.wait()
    draining = asyncio.create_task(server.__aexit__(None, None, None))
    await until_refused(client)
    go.set()
    assert await begun == ["begun"]
    await draining
    await client.close()


async def until_refused(client: Client) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await call(client, Shape.UNARY_UNARY, "late", timeout_seconds=0.2)
            except TokenwayError as error:
                if error.reason is Reason.SERVICE_UNAVAILABLE:
                    return


async def test_two_servers_on_one_address_is_an_error_that_says_so(tmp_path: Path) -> None:
    async with echo_service(tmp_path) as (_, _, _, server):
        second = RpcServer(name="second", listen=server.address, routes=(), runtime=recorded_runtime().runtime)
        with pytest.raises(TokenwayError, match=r"cannot listen on unix:.*echo.sock: is the port in use"):
            await second.__aenter__()


async def test_plaintext_off_this_machine_is_refused() -> None:
    server = RpcServer(name="open", listen="0.0.0.0:0", routes=(), runtime=recorded_runtime().runtime)
    with pytest.raises(TokenwayError, match="in plaintext"):
        await server.__aenter__()


async def test_a_draining_server_does_not_wait_for_who_watches_its_health(tmp_path: Path) -> None:
    recorded = recorded_runtime()
    route = Route(method_of(Shape.UNARY_UNARY), Echo().unary)
    server = RpcServer(
        name="watched",
        listen=f"unix:{tmp_path}/watched.sock",
        routes=(route,),
        runtime=recorded.runtime,
        drain_seconds=30,
    )
    async with server, grpc.aio.insecure_channel(server.address) as channel:
        watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
        watching = watch(b"")
        assert await asyncio.wait_for(watching.read(), 60) is not None
        await asyncio.wait_for(server.__aexit__(None, None, None), 5)


async def test_odd_metadata_does_no_harm(tmp_path: Path) -> None:
    odd = (
        ("x-request-id", "a" * 5_000),
        ("x-request-id", "second"),
        ("some-bin", b"\x00\xff"),
        ("traceparent", "no-trace"),
        ("x-tokenway-mesh-token", "wrong"),
        ("x-tokenway-mesh-token", MESH_TOKEN),
    )
    async with (
        echo_service(tmp_path) as (_, echo, recorded, server),
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        send: Any = channel.unary_unary(method_of(Shape.UNARY_UNARY).path)
        await send(StringValue(value="hello").SerializeToString(), metadata=odd)
    assert all(0 < len(each) <= 64 for each in echo.request_ids)
    assert server_span(recorded).parent is None


async def test_a_bug_in_the_chain_itself_says_nothing_of_its_cause_either(tmp_path: Path) -> None:
    recorded = recorded_runtime()

    def pack(_: object) -> Message:
        raise ValueError("a secret of ours")

    async def attaches(request: StringValue, call: Call) -> Message:
        call.attachments.append(object())
        raise BUDGET

    server = RpcServer(
        name="broken",
        listen=f"unix:{tmp_path}/broken.sock",
        routes=(Route(method_of(Shape.UNARY_UNARY), attaches),),
        runtime=recorded.runtime,
        pack=pack,
    )
    async with server:
        client = recorded.runtime.client(server.address, service="broken")
        with pytest.raises(TokenwayError) as caught:
            await call(client, Shape.UNARY_UNARY, "hello")
        await client.close()
    assert caught.value.reason is Reason.INTERNAL
    assert caught.value.metadata["request_id"], "a status of ours, and not the server library's with the cause in it"


@pytest.mark.parametrize(
    ("shape", "word", "code"),
    [
        (Shape.UNARY_UNARY, "hello", "OK"),
        (Shape.STREAM_STREAM, "hello", "OK"),
        (Shape.UNARY_UNARY, "refuse", "RESOURCE_EXHAUSTED"),
        (Shape.STREAM_STREAM, "refuse", "RESOURCE_EXHAUSTED"),
        (Shape.UNARY_STREAM, "crash", "INTERNAL"),
    ],
)
async def test_a_call_is_counted_where_it_is_made_too(shape: Shape, word: str, code: str, tmp_path: Path) -> None:
    async with echo_service(tmp_path) as (client, _, recorded, _):
        with suppress(TokenwayError):
            await call(client, shape, word)
    path = method_of(shape).path.removeprefix("/")
    made = {"service": "echo", "method": path}
    assert recorded.sample("tokenway_rpc_client_requests_total", **made, code=code) == 1
    assert recorded.sample("tokenway_rpc_client_seconds_count", **made) == 1


async def test_a_stream_that_is_left_early_is_counted_as_cancelled(tmp_path: Path) -> None:
    async with echo_service(tmp_path) as (client, _, recorded, _):
        request = StringValue(value="hello")
        async with client.stream(method_of(Shape.UNARY_STREAM), request) as stream:
            await anext(aiter(stream))
    path = method_of(Shape.UNARY_STREAM).path.removeprefix("/")
    made = {"service": "echo", "method": path, "code": "CANCELLED"}
    assert recorded.sample("tokenway_rpc_client_requests_total", **made) == 1


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_call_is_in_flight_until_it_has_ended(shape: Shape, tmp_path: Path) -> None:
    path = method_of(shape).path.removeprefix("/")
    async with echo_service(tmp_path) as (client, echo, recorded, _):
        calling = asyncio.create_task(call(client, shape, "wait"))
        await asyncio.wait_for(echo.called.wait(), 60)
        assert recorded.sample("tokenway_rpc_in_flight", method=path) == 1
        calling.cancel()
        await asyncio.wait_for(echo.ended_by, 60)
    assert recorded.sample("tokenway_rpc_in_flight", method=path) == 0


@pytest.mark.parametrize("reads", [True, False], ids=["that reads in the end", "that leaves"])
async def test_what_a_slow_reader_takes_is_timed_apart(reads: bool, tmp_path: Path) -> None:
    """Sixteen megabytes, which flow control holds back until somebody reads."""
    recorded, sending = recorded_runtime(), asyncio.get_running_loop().create_future()

    async def much(request: StringValue, call: Call) -> AsyncIterator[Message]:
        try:
            for _ in range(16):
                yield StringValue(value="x" * (1 << 20))
        finally:
            sending.set_result(call.sending_seconds)

    route = Route(method_of(Shape.UNARY_STREAM), much)
    server = RpcServer(name="much", listen=f"unix:{tmp_path}/much.sock", routes=(route,), runtime=recorded.runtime)
    async with server:
        client = recorded.runtime.client(server.address, service="much")
        async with client.stream(method_of(Shape.UNARY_STREAM), StringValue(value="all")) as stream:
            messages = aiter(stream)
            await anext(messages)  # from now on it is being sent
            await asyncio.wait({sending}, timeout=0.3)
            assert not sending.done(), "the sender waits for its reader"
            if reads:
                async for _ in messages:
                    pass
        assert await asyncio.wait_for(sending, 60) > 0.2
        await client.close()


async def test_requests_that_a_handler_has_not_read_are_left_to_nobody(tmp_path: Path) -> None:
    async def first(request: AsyncIterator[StringValue], call: Call) -> StringValue:
        return await anext(request)

    recorded, method = recorded_runtime(), method_of(Shape.STREAM_UNARY)
    address, routes = f"unix:{tmp_path}/first.sock", (Route(method, first),)
    with left_open() as left:
        async with RpcServer(name="first", listen=address, routes=routes, runtime=recorded.runtime, drain_seconds=5):
            client = recorded.runtime.client(address, service="first")
            assert (await client.unary(method, requests("hello"), timeout_seconds=10)).value == "hello"
            await client.close()
    assert "_parse_each" not in left
