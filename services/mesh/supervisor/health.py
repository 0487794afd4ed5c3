"""Whether a service is SERVING, asked over the wire as any load balancer asks."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2

from libs.rpc.channel import dial
from services.mesh.errors import MeshError

_PATIENCE_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_BETWEEN_TRIES_SECONDS = 0.05


async def until_serving(name: str, address: str, *, service: str) -> None:
    """Returns once the server at a local plaintext address says that the service is SERVING; MeshError after 10 s."""
    last = "unknown"
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), dial(address) as channel:
            while (last := await _status(channel, service)) != "SERVING":  # noqa: ASYNC110 - another process cannot set an Event
                await asyncio.sleep(_BETWEEN_TRIES_SECONDS)
    except TimeoutError:
        raise MeshError(f"{name} said that it was ready at {address}, but its health there is {last}") from None


async def _status(channel: grpc.aio.Channel, service: str) -> str:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = await check(health_pb2.HealthCheckRequest(service=service), timeout=_ANSWER_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
