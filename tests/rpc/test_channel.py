"""The one profile of connections, over a network that is not this machine's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from libs.errors import Reason, TokenwayError
from libs.rpc import channel
from libs.rpc import server as rpc_server
from libs.rpc.call import Call
from libs.rpc.method import Method, Shape
from libs.rpc.routes import Route
from libs.rpc.server import RpcServer
from libs.testing.runtime import recorded_runtime

ECHOES = Method("tokenway.test.v1.EchoService", "Echoes", StringValue, StringValue, Shape.UNARY_STREAM)
ECHO = Method("tokenway.test.v1.EchoService", "Echo", StringValue, StringValue, Shape.UNARY_UNARY)
# As a handshake over an ocean, or with a machine that is busy.
HANDSHAKE_SECONDS = 0.5
# Of so many at once gRPC drops some by default: from a thousand on that wait to be accepted.
MANY = 3_000


async def echo(request: StringValue, call: Call) -> StringValue:
    return request


@asynccontextmanager
async def far_away(host: str, port: int) -> AsyncIterator[str]:
    """An address behind which that one is, once a connection has waited."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(HANDSHAKE_SECONDS)
        near, to_near = await asyncio.open_connection(host, port)
        await asyncio.gather(_pour(reader, to_near), _pour(near, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _pour(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, whole: asyncio.Event | None = None
) -> None:
    while data := await reader.read(65_536):
        if whole is not None:
            await whole.wait()
        writer.write(data)
    writer.close()


async def test_calls_that_wait_for_a_busy_server_are_all_answered_however_many_there_are() -> None:
    runtime = recorded_runtime(sampling_ratio=0).runtime
    server = RpcServer(name="echo", listen="127.0.0.1:0", routes=(Route(ECHO, echo),), runtime=runtime)
    async with server:
        client = runtime.client(server.address, service="echo")
        asked = [client.unary(ECHO, StringValue(value=f"{number}"), timeout_seconds=60) for number in range(MANY)]
        said = await asyncio.gather(*asked)
        await client.close()
    assert [each.value for each in said] == [f"{number}" for number in range(MANY)]


async def test_a_connection_may_take_longer_to_be_made_than_the_first_wait_between_two() -> None:
    runtime = recorded_runtime().runtime
    server = RpcServer(name="echo", listen="127.0.0.1:0", routes=(Route(ECHO, echo),), runtime=runtime)
    async with server:
        host, _, port = server.address.rpartition(":")
        async with far_away(host, int(port)) as address:
            client = runtime.client(address, service="echo")
            said = await client.unary(ECHO, StringValue(value="from far away"), timeout_seconds=10)
            await client.close()
    assert said.value == "from far away"


@asynccontextmanager
async def line(host: str, port: int, *, whole: asyncio.Event) -> AsyncIterator[str]:
    """An address behind which that one is. While the line is not whole nothing comes through, and nobody is told."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near, to_near = await asyncio.open_connection(host, port)
        await asyncio.gather(_pour(reader, to_near, whole=whole), _pour(near, writer, whole=whole))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            whole.set()


def hurried(options: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The same, with pings a hundred times as often, waited for a hundredth of the time."""
    return tuple((name, value // 100 if "ping" in name or "keepalive" in name else value) for name, value in options)


async def test_both_sides_notice_a_peer_that_has_vanished_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gone, or standing still. Else whoever leads would, for as long as those who follow have time."""
    monkeypatch.setattr(channel, "CHANNEL_OPTIONS", hurried(channel.CHANNEL_OPTIONS))
    monkeypatch.setattr(rpc_server, "server_options", lambda *, public: hurried(channel.server_options(public=public)))
    whole, left = asyncio.Event(), asyncio.Event()
    whole.set()

    async def endless(request: StringValue, call: Call) -> AsyncIterator[StringValue]:
        try:
            yield request
            await asyncio.Event().wait()
        finally:
            left.set()

    runtime = recorded_runtime().runtime
    server = RpcServer(
        name="echo", listen="127.0.0.1:0", routes=(Route(ECHOES, endless),), runtime=runtime, drain_seconds=0
    )
    async with server:
        host, _, port = server.address.rpartition(":")
        async with line(host, int(port), whole=whole) as address:
            client = runtime.client(address, service="echo")
            async with asyncio.timeout(10), client.stream(ECHOES, StringValue(value="hello")) as stream:
                messages = aiter(stream)
                await anext(messages)
                whole.clear()
                await left.wait()
                with pytest.raises(TokenwayError) as failed:
                    await anext(messages)
            await client.close()
    assert failed.value.reason is Reason.SERVICE_UNAVAILABLE
