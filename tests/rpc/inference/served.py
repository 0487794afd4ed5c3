"""A real inference server on a unix socket, and what a test says to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from libs.rpc.client import Client
from libs.rpc.method import Method, method
from libs.rpc.server import RpcServer
from libs.settings.schema import Model, Price, ScriptedEngine
from libs.testing.runtime import Recorded, recorded_runtime
from services.inference.config import InferenceConfig
from services.inference.domain.ports import Gpus
from services.inference.server import serve
from tokenway.common.v1 import generation_pb2
from tokenway.inference.v1 import inference_pb2 as pb


def _method(name: str, request: type[Any], response: type[Any]) -> Method[Any, Any]:
    return method(pb.DESCRIPTOR, "InferenceService", name, request, response)


GENERATE = _method("Generate", pb.GenerateRequest, pb.GenerateResponse)
COUNT_TOKENS = _method("CountTokens", pb.CountTokensRequest, pb.CountTokensResponse)
WATCH_LOAD = _method("WatchLoad", pb.WatchLoadRequest, pb.WatchLoadResponse)
GET_MODEL = _method("GetModel", pb.GetModelRequest, pb.GetModelResponse)
EMBED = _method("Embed", pb.EmbedRequest, pb.EmbedResponse)

SCRIPT = ScriptedEngine(
    kind="scripted",
    tokens_per_second=1_000,
    first_token_seconds=0,
    answer_tokens=8,
    max_model_len=512,
    max_num_seqs=1,
    allow_directives=True,
)


def question(prompt: str = "Hello", **sampling: Any) -> generation_pb2.GenerationInput:
    return generation_pb2.GenerationInput(prompt=prompt, sampling=generation_pb2.Sampling(**sampling))


def generate(prompt: str = "Hello", **sampling: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(request_id="r-1", model="small", input=question(prompt, **sampling), attempt=1)


def model(socket: Path, engine: ScriptedEngine = SCRIPT) -> Model:
    return Model(
        name="small",
        tier="small",
        capabilities=("all",),
        context_window_tokens=512,
        p99_latency_seconds=2,
        price=Price(input_usd_per_million_tokens=Decimal(1), output_usd_per_million_tokens=Decimal(2)),
        revision="7",
        endpoints=(f"unix:{socket}",),
        engine=engine,
    )


@dataclass(frozen=True, slots=True)
class Served:
    """A client of the server, and the server."""

    client: Client
    server: RpcServer = field(repr=False)
    recorded: Recorded = field(repr=False)

    async def generate(self, request: pb.GenerateRequest, *, timeout_seconds: float | None = None) -> list[Any]:
        """All events, each as the message inside."""
        async with self.client.stream(GENERATE, request, timeout_seconds=timeout_seconds) as stream:
            return [getattr(each, each.WhichOneof("event") or "") async for each in stream]

    async def unary(self, rpc: Method[Any, Any], request: Any) -> Any:
        return await self.client.unary(rpc, request)

    async def left_alone(self) -> None:
        """Returns once nothing is generated any more, as the server tells it."""
        await self._load_is(lambda running: running == 0)

    async def busy(self) -> None:
        """Returns once something is generated."""
        await self._load_is(lambda running: running > 0)

    async def _load_is(self, wanted: Callable[[int], bool]) -> None:
        async with asyncio.timeout(60), self.client.stream(WATCH_LOAD, pb.WatchLoadRequest()) as reports:
            async for report in reports:
                if wanted(report.running + report.waiting):
                    return


@asynccontextmanager
async def serving(folder: Path, *, gpus: Gpus | None = None) -> AsyncIterator[Served]:
    """One turn, so that a request which begins proves that the one before it has ended."""
    recorded = recorded_runtime()
    described = model(folder / "inference.sock")
    config = InferenceConfig(described, SCRIPT, described.endpoints[0], "127.0.0.1:0", drain_seconds=5)
    async with serve(config, runtime=recorded.runtime, gpus=gpus) as server:
        client = recorded.runtime.client(server.address, service="inference")
        try:
            yield Served(client, server, recorded)
        finally:
            await client.close()
