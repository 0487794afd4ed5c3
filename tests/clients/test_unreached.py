"""A router that does not answer: the address, the cause and what to do are said, whatever listens there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from libs.errors import Reason
from libs.testing.certificates import authority
from tests.openssl import needs_openssl
from tokenway.client import CallError, Client, SyncClient
from tokenway.client.unreached import router_error


@asynccontextmanager
async def server(credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[int]:
    """A gRPC server without services, on a port of this machine."""
    bare = grpc.aio.server()
    port = bare.add_secure_port("127.0.0.1:0", credentials) if credentials else bare.add_insecure_port("127.0.0.1:0")
    await bare.start()
    try:
        yield port
    finally:
        await bare.stop(None)


async def failure(address: str, **options: Any) -> CallError:
    async with Client(address, key="any", timeout_seconds=20, **options) as client:
        with pytest.raises(CallError) as caught:
            await client.models()
    return caught.value


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nowhere", "has no port: give HOST:PORT, 127.0.0.1:50051 for example"),
        ("127.0.0.1", "has no port: give HOST:PORT, 127.0.0.1:50051 for example"),
        ("", "has no port: give HOST:PORT, 127.0.0.1:50051 for example"),
        ("127.0.0.1:99999", "has the port '99999': give a number from 1 to 65535"),
        ("127.0.0.1:0", "has the port '0': give a number from 1 to 65535"),
        ("127.0.0.1:abc", "has the port 'abc': give a number from 1 to 65535"),
        ("127.0.0.1:", "has the port '': give a number from 1 to 65535"),
        ("http://127.0.0.1:50051", "is a URL: leave http:// and any path out, and give HOST:PORT"),
        (":50051", "names no host: give HOST:PORT"),
        ("my router:50051", "names no host: give HOST:PORT"),
        ("::1:50051", "has an IPv6 address without brackets: give [::1]:PORT"),
        ("unix:", "names no socket: give unix:PATH"),
    ],
)
async def test_what_is_no_address_is_refused_before_anything_is_dialled(address: str, says: str) -> None:
    error = await failure(address)
    assert (error.reason, error.message) == (Reason.INVALID_REQUEST, f"the router's address {address!r} {says}")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1"])
async def test_where_nobody_listens_the_address_and_the_cure_are_named(address: str) -> None:
    error = await failure(address)
    assert error.reason is Reason.SERVICE_UNAVAILABLE
    assert error.message.startswith(f"router: cannot be reached at {address}: nothing listens there: start the mesh")


async def test_a_socket_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    error = await failure(f"unix:{tmp_path}/none.sock")
    assert f"cannot be reached at unix:{tmp_path}/none.sock: there is no such socket" in error.message


async def test_what_hangs_up_may_want_tls() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listener:
        address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        error = await failure(address)
    assert f"cannot be reached at {address}: it hung up: it is no router, or wants TLS" in error.message


async def test_another_server_is_no_router() -> None:
    async with server() as port:
        error = await failure(f"127.0.0.1:{port}")
    assert error.reason is Reason.NOT_SERVED
    assert error.message == f"router: 127.0.0.1:{port} knows no such call: it is no router, or an older one"


@needs_openssl
async def test_what_tls_finds_wrong_is_told_apart(tmp_path: Path) -> None:
    ours, strangers = authority(tmp_path, "ours"), authority(tmp_path, "strangers")
    made = ours.tls("router", names="DNS:localhost", mutual=False)
    async with server() as plain, server(made.server_credentials()) as port:
        wants_tls = await failure(f"127.0.0.1:{plain}", tls=True)
        in_plaintext = await failure(f"127.0.0.1:{port}")
        untrusted = await failure(f"localhost:{port}", ca_file=strangers.certificate)
        misnamed = await failure(f"127.0.0.1:{port}", ca_file=ours.certificate)
    assert "it does not speak TLS there" in wants_tls.message
    assert "it hung up: it is no router, or wants TLS" in in_plaintext.message
    assert "its certificate is not trusted" in untrusted.message
    assert "its certificate is for another name" in misnamed.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        ("no certificate", "holds no certificate: give"),
        ("", "hol"),
    ],
)
async def test_a_ca_file_without_certificates_is_refused_at_once(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    error = await failure("127.0.0.1:1", ca_file=file)
    assert error.reason is Reason.INVALID_REQUEST
    assert error.message.startswith(f"the CA file {file} {says}")


async def test_a_request_that_is_too_large_says_its_size_and_the_most() -> None:
    async with server() as port, Client(f"127.0.0.1:{port}", key="any") as client:
        with pytest.raises(CallError, match=r"request: has 20,000,0\d\d bytes: send at most 16,777,216") as caught:
            await client.generate("x" * 20_000_000)
    assert caught.value.reason is Reason.INVALID_REQUEST


def test_a_connection_that_breaks_off_is_no_router_that_cannot_be_reached() -> None:
    cut = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), details="Socket closed"
    )
    assert router_error(cut, "127.0.0.1:7").message == (
        "router: the connection to 127.0.0.1:7 broke off; what was delivered may be billed; ask again"
    )


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e30, 0, -1])
def test_a_time_that_nobody_can_wait_is_refused(seconds: float) -> None:
    with SyncClient("127.0.0.1:1", key="any", timeout_seconds=seconds) as client:
        for ask in (client.models, lambda: client.generate("hello"), lambda: client.stream("hello")):
            with pytest.raises(CallError, match=r"timeout_seconds: is .*: give seconds, above 0 and at most 86,400"):
                ask()
