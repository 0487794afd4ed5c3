"""Clients that know nothing of this repository but the protos, and one that does not even have those."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2

from tests.mesh.in_process import KEY, Mesh, running, services, settings
from tokenway.router.v1 import router_pb2

STREAM = "tokenway.router.v1.RouterService/StreamGenerate"
QUESTION = {"request": {"prompt": "hello", "sampling": {"maxTokens": 16, "temperature": 0}}}


def buf() -> str:
    """The one of the environment that runs the tests."""
    found = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    assert found, "buf is one of the pinned development tools"
    return found


async def buf_curl(mesh: Mesh, method: str, *options: str, data: str = "{}") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(buf(), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--data", data, *options),
        f"http://{mesh.address}/{method}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


async def test_buf_curl_streams_by_reflection_alone(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        given = settings(folder, redis_url, services=services(folder, router={"listen": "127.0.0.1:0"}))
        async with running(given) as mesh:
            authorised = ("--header", f"authorization: Bearer {KEY}")
            code, out, err = await buf_curl(mesh, STREAM, *authorised, data=json.dumps(QUESTION))
            refused, _, why = await buf_curl(mesh, STREAM, data=json.dumps(QUESTION))
    assert code == 0, err
    decoder, events, rest = json.JSONDecoder(), [], out.strip()
    while rest:
        event, end = decoder.raw_decode(rest)
        events.append(event)
        rest = rest[end:].lstrip()
    kinds = [next(iter(each)) for each in events]
    assert kinds == ["started", *["delta"] * (len(events) - 2), "finished"]
    assert events[-1]["finished"]["usage"]["outputTokens"] == "8"
    assert refused != 0
    assert "unauthenticated" in why
    assert "google.rpc.ErrorInfo" in why


async def test_a_plain_grpc_client_sees_details_and_metadata(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        async with (
            running(settings(folder, redis_url)) as mesh,
            grpc.aio.insecure_channel(mesh.address) as channel,
        ):
            call: Any = channel.unary_stream(
                f"/{STREAM}",
                request_serializer=router_pb2.StreamGenerateRequest.SerializeToString,
                response_deserializer=router_pb2.StreamGenerateResponse.FromString,
            )
            metadata = (("authorization", f"Bearer {KEY}"),)
            request = router_pb2.StreamGenerateRequest(request=router_pb2.GenerateRequest(prompt="hello"))
            rpc = call(request, metadata=metadata)
            events = [each async for each in rpc]
            sent = dict(await rpc.initial_metadata())
            wrong = call(router_pb2.StreamGenerateRequest(), metadata=metadata)
            trailing = await _trailing(wrong)
    assert events[-1].HasField("finished")
    assert sent["x-request-id"] == events[0].started.request_id == events[-1].finished.receipt.request_id
    status = Status.FromString(trailing["grpc-status-details-bin"])
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "tokenway")


async def _trailing(rpc: Any) -> dict[str, Any]:
    try:
        async for _ in rpc:
            raise AssertionError("an empty request is answered")
    except grpc.aio.AioRpcError as error:
        return dict(error.trailing_metadata() or ())
    raise AssertionError("an empty request succeeded")


async def test_health_is_for_everybody_and_reflection_of_the_inside_is_not(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        async with (
            running(settings(Path(name), redis_url)) as mesh,
            grpc.aio.insecure_channel(mesh.servers["budget"].address) as channel,
        ):
            check: Any = channel.unary_unary(
                "/grpc.health.v1.Health/Check", response_deserializer=health_pb2.HealthCheckResponse.FromString
            )
            request = health_pb2.HealthCheckRequest(service="tokenway.budget.v1.BudgetService")
            health = await check(request.SerializeToString())
            reflect: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            code = await reflect(iter([b""])).code()
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert code is grpc.StatusCode.UNIMPLEMENTED
