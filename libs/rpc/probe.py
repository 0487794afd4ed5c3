"""`python -m libs.rpc.probe ADDRESS SERVICE`: whether that service is SERVING, for a container's health check.

Exit code 0 when it is, 1 with its status on standard error when not. Any port answers: health is open to all, since it
tells nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from libs.errors import TokenwayError
from libs.rpc.channel import dial
from libs.rpc.tls import Trust

_ANSWER_SECONDS = 4.0


async def health(channel: grpc.aio.Channel, service: str, *, timeout_seconds: float) -> str:
    """The name of the service's status, else of the failed call's code."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        # Nobody there yet is no answer yet: a server that is being started has the whole time for it.
        answer = await check(
            health_pb2.HealthCheckRequest(service=service), timeout=timeout_seconds, wait_for_ready=True
        )
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def probe(
    address: str,
    service: str,
    *,
    trust: Path | None = None,
    name: str = "localhost",
    timeout_seconds: float = _ANSWER_SECONDS,
) -> str:
    """The service's health. With `trust`, over TLS: the server's own certificate, or its authority's, and its name."""
    async with dial(address, tls=Trust(trust) if trust else None, host=name) as channel:
        return await health(channel, service, timeout_seconds=timeout_seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m libs.rpc.probe", description="Is a gRPC service SERVING?")
    parser.add_argument("address", help="HOST:PORT or unix:PATH")
    parser.add_argument("service", help="tokenway.cache.v1.CacheService, for example")
    parser.add_argument("--trust", type=Path, metavar="FILE", help="the server's certificate, or its authority's")
    parser.add_argument("--name", default="localhost", help="a name that the certificate is for [%(default)s]")
    arguments = parser.parse_args()
    try:
        status = asyncio.run(probe(**vars(arguments)))
    except (OSError, ValueError, TokenwayError) as error:
        status = str(error)
    if status != "SERVING":
        sys.stderr.write(f"{arguments.service} at {arguments.address}: {status}\n")
    return 0 if status == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main())
