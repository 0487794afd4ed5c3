"""Certificates on both kinds of port, made here by the `openssl` command: who gets in and who does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from libs.errors import Reason, TokenwayError
from libs.rpc.call import Call
from libs.rpc.channel import dial
from libs.rpc.client import Client
from libs.rpc.method import Method, Shape
from libs.rpc.routes import Route
from libs.rpc.runtime import Runtime
from libs.rpc.server import RpcServer
from libs.rpc.tls import Tls
from libs.testing.certificates import Authority, authority
from libs.testing.runtime import recorded_runtime
from tests.openssl import needs_openssl

pytestmark = needs_openssl

ECHO = Method("tokenway.test.v1.EchoService", "Echo", StringValue, StringValue, Shape.UNARY_UNARY)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("strangers"), "strangers")


async def echo(request: StringValue, call: Call) -> StringValue:
    return request


@asynccontextmanager
async def serving(runtime: Runtime, *, public: bool = False, tls: Tls | None = None) -> AsyncIterator[str]:
    """An echo on a loopback port; its address."""
    route = Route(ECHO, echo)
    server = RpcServer(name="echo", listen="127.0.0.1:0", routes=(route,), runtime=runtime, public=public, tls=tls)
    async with server:
        yield server.address


def of_the_mesh(tls: Tls) -> Runtime:
    return replace(recorded_runtime().runtime, mesh_tls=tls)


async def answer(client: Client) -> str:
    try:
        return (await client.unary(ECHO, StringValue(value="hello"), timeout_seconds=30)).value
    finally:
        await client.close()


async def refusal(client: Client) -> Reason:
    with pytest.raises(TokenwayError) as caught:
        await answer(client)
    return caught.value.reason


def plainly(address: str) -> Client:
    return recorded_runtime().runtime.client(address, service="echo")


async def test_a_public_port_with_a_certificate_is_reached_by_who_trusts_its_authority(ours: Authority) -> None:
    async with serving(recorded_runtime().runtime, public=True, tls=ours.tls("router", mutual=False)) as address:
        trusting = grpc.ssl_channel_credentials(ours.certificate.read_bytes())
        async with grpc.aio.secure_channel(address, trusting) as channel:
            send = channel.unary_unary(ECHO.path, StringValue.SerializeToString, StringValue.FromString)
            assert (await send(StringValue(value="hello"), timeout=30)).value == "hello"


async def test_a_server_with_a_strangers_certificate_is_not_talked_to(ours: Authority, strangers: Authority) -> None:
    async with serving(of_the_mesh(strangers.tls("budget"))) as address:
        assert (
            await refusal(of_the_mesh(ours.tls("router")).client(address, service="echo")) is Reason.SERVICE_UNAVAILABLE
        )


async def test_services_of_one_authority_talk(ours: Authority) -> None:
    async with serving(of_the_mesh(ours.tls("budget"))) as address:
        assert await answer(of_the_mesh(ours.tls("router")).client(address, service="echo")) == "hello"


async def test_a_stranger_is_refused_whatever_token_it_has(ours: Authority, strangers: Authority) -> None:
    stranger = Tls(strangers.tls("thief").certificate_file, strangers.tls("thief").key_file, str(ours.certificate))
    async with serving(of_the_mesh(ours.tls("budget"))) as address:
        assert await refusal(of_the_mesh(stranger).client(address, service="echo")) is Reason.SERVICE_UNAVAILABLE


async def test_who_shows_no_certificate_is_refused(ours: Authority) -> None:
    async with serving(of_the_mesh(ours.tls("budget"))) as address:
        trusting = grpc.ssl_channel_credentials(ours.certificate.read_bytes())
        client = Client(
            grpc.aio.secure_channel(address, trusting), service="echo", tracer=recorded_runtime().runtime.tracer
        )
        assert await refusal(client) is Reason.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("public", [False, True])
async def test_plaintext_to_a_port_with_a_certificate_is_refused(ours: Authority, public: bool) -> None:
    runtime = recorded_runtime().runtime if public else of_the_mesh(ours.tls("budget"))
    async with serving(runtime, public=public, tls=ours.tls("router")) as address:
        assert await refusal(plainly(address)) is Reason.SERVICE_UNAVAILABLE


async def test_certificates_that_check_nobody_do_not_stand_in_for_the_mesh_token(ours: Authority) -> None:
    unchecked = ours.tls("budget", mutual=False)
    async with serving(of_the_mesh(unchecked)) as address:
        trusting = grpc.ssl_channel_credentials(ours.certificate.read_bytes())
        client = Client(
            grpc.aio.secure_channel(address, trusting), service="echo", tracer=recorded_runtime().runtime.tracer
        )
        assert await refusal(client) is Reason.NOT_OF_THE_MESH


async def test_an_address_that_a_name_resolved_to_is_checked_by_that_name(ours: Authority) -> None:
    tls = ours.tls("model", names="DNS:model.mesh.test")
    async with serving(of_the_mesh(tls)) as address:
        runtime = of_the_mesh(ours.tls("router"))
        assert await refusal(runtime.client(address, service="echo")) is Reason.SERVICE_UNAVAILABLE
        assert await answer(runtime.client(address, service="echo", host="model.mesh.test")) == "hello"


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"nowhere\.key"):
        dial("127.0.0.1:1", tls=Tls(str(tmp_path / "nowhere.pem"), str(tmp_path / "nowhere.key")))


async def test_calls_go_round_all_addresses_of_a_service_on_other_machines(ours: Authority) -> None:
    tls = ours.tls("service")
    calls = {"one": 0, "other": 0}

    def replica(name: str) -> RpcServer:
        async def counted(request: StringValue, call: Call) -> StringValue:
            calls[name] += 1
            return request

        return RpcServer(name=name, listen="127.0.0.1:0", routes=(Route(ECHO, counted),), runtime=of_the_mesh(tls))

    async with replica("one") as one, replica("other") as other:
        # The addresses of a name, as gRPC has them once it is resolved.
        channel = dial(f"ipv4:{one.address},{other.address}", tls=tls, host="localhost")
        client = Client(channel, service="echo", tracer=recorded_runtime().runtime.tracer)
        for _ in range(20):
            await client.unary(ECHO, StringValue(), timeout_seconds=10)
        await client.close()

    assert min(calls.values()) > 5
