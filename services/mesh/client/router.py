"""The router's calls, with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from opentelemetry.trace import NoOpTracer

from libs.rpc.channel import CHANNEL_OPTIONS, dial
from libs.rpc.client import Client, Stream
from libs.rpc.method import method
from tokenway.router.v1 import router_pb2
from tokenway.router.v1.router_pb2 import (
    ExplainRouteRequest,
    ExplainRouteResponse,
    GenerateRequest,
    GenerateResponse,
    ListModelsRequest,
    ListModelsResponse,
    StreamGenerateRequest,
    StreamGenerateResponse,
)

_FILE, _SERVICE = router_pb2.DESCRIPTOR, "RouterService"
STREAM_GENERATE = method(_FILE, _SERVICE, "StreamGenerate", StreamGenerateRequest, StreamGenerateResponse)
GENERATE = method(_FILE, _SERVICE, "Generate", GenerateRequest, GenerateResponse)
EXPLAIN_ROUTE = method(_FILE, _SERVICE, "ExplainRoute", ExplainRouteRequest, ExplainRouteResponse)
LIST_MODELS = method(_FILE, _SERVICE, "ListModels", ListModelsRequest, ListModelsResponse)


@dataclass(frozen=True, slots=True)
class RouterAddress:
    """Where a router is, and the key to it. With TLS, `ca_file` names the authority to trust; None: the system's."""

    address: str
    key: str = field(repr=False)
    tls: bool = False
    ca_file: Path | None = None


class RouterClient:
    """Every failure is a TokenwayError. Nothing is retried."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def stream_generate(
        self, request: GenerateRequest, *, timeout_seconds: float | None = None
    ) -> AbstractAsyncContextManager[Stream[StreamGenerateResponse]]:
        """Started, deltas, Finished. Leaving the block early cancels the generation."""
        return self._client.stream(
            STREAM_GENERATE, StreamGenerateRequest(request=request), timeout_seconds=timeout_seconds
        )

    async def generate(self, request: GenerateRequest, *, timeout_seconds: float | None = None) -> GenerateResponse:
        """A whole answer."""
        return await self._client.unary(GENERATE, request, timeout_seconds=timeout_seconds)

    async def explain_route(self, request: GenerateRequest, *, timeout_seconds: float) -> ExplainRouteResponse:
        """Where the request would go."""
        question = ExplainRouteRequest(request=request)
        return await self._client.unary(EXPLAIN_ROUTE, question, timeout_seconds=timeout_seconds)

    async def list_models(self, *, timeout_seconds: float) -> ListModelsResponse:
        """The models that the key may use."""
        return await self._client.unary(LIST_MODELS, ListModelsRequest(), timeout_seconds=timeout_seconds)


@asynccontextmanager
async def connected(router: RouterAddress) -> AsyncIterator[RouterClient]:
    """A client while the block runs. Connects at the first call."""
    async with calling(router) as client:
        yield RouterClient(client)


@asynccontextmanager
async def calling(router: RouterAddress) -> AsyncIterator[Client]:
    """Calls with the key, while the block runs."""
    metadata = {"authorization": f"Bearer {router.key}"}
    client = Client(_channel(router), service="router", tracer=NoOpTracer(), metadata=metadata)
    try:
        yield client
    finally:
        await client.close()


def _channel(router: RouterAddress) -> grpc.aio.Channel:
    if not router.tls:
        return dial(router.address)
    authority = router.ca_file.read_bytes() if router.ca_file else None
    return grpc.aio.secure_channel(router.address, grpc.ssl_channel_credentials(authority), options=CHANNEL_OPTIONS)
