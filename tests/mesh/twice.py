"""The mesh in one test with two routers, each with a replica of the cache of its own, on one Redis."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from libs.errors import TokenwayError
from libs.settings import schema
from libs.telemetry import names
from services.cache import server as cache
from services.cache.config import CacheConfig
from services.mesh.client.router import RouterAddress, connected
from services.router import server as router
from services.router.config import RouterConfig
from tests.mesh.in_process import KEY, PATIENCE, ROUTERS_PATIENCE, Mesh, running, services, settings
from tokenway.client.router import RouterClient
from tokenway.router.v1 import router_pb2

Event = router_pb2.StreamGenerateResponse


@dataclass(frozen=True, slots=True)
class Twice:
    """A client of either router, and the mesh that they are of."""

    mesh: Mesh
    clients: tuple[RouterClient, RouterClient]

    @property
    def generations(self) -> int:
        """Answers that the engine has made or broken off."""
        return sum(span.name == names.SPAN_ENGINE for span in self.mesh.recorded.spans())

    def cached(self, metric: str, **labels: str) -> float:
        """A metric of both replicas of the cache together."""
        return sum(self.mesh.metrics[name].sample(metric, **labels) for name in ("cache-1", "cache-2"))


async def events(client: RouterClient, request: router_pb2.GenerateRequest, *, seconds: float = 60) -> list[Event]:
    """Of a whole stream."""
    async with client.stream_generate(request, timeout_seconds=seconds) as stream:
        return [each async for each in stream]


async def ending(client: RouterClient, request: router_pb2.GenerateRequest, *, seconds: float = 60) -> Any:
    """The events, or the error."""
    try:
        return await events(client, request, seconds=seconds)
    except TokenwayError as error:
        return error


def text(stream: Sequence[Event]) -> str:
    return "".join(piece for event in stream for piece in event.delta.text)


@asynccontextmanager
async def twice(redis_url: str, *, routers: dict[str, Any] | None = None, **changes: Any) -> AsyncIterator[Twice]:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        given = settings(folder, redis_url, services=services(folder, router=routers), **changes)
        first, second = (_with(given, folder, number) for number in (1, 2))
        async with running(first) as mesh, AsyncExitStack() as stack:
            for number, given in enumerate((first, second), start=1):
                # The one that the mesh has started is asked by nobody.
                config = replace(
                    CacheConfig.from_settings(given),
                    listen=given.services.cache.reached_at,
                    **PATIENCE,
                    flight_lease_seconds=60,
                )
                recorded = mesh.metrics[f"cache-{number}"] = mesh.recorded.beside("cache")
                await stack.enter_async_context(cache.serve(config, runtime=recorded.runtime))
            recorded = mesh.metrics["router-2"] = mesh.recorded.beside("router")
            server = await stack.enter_async_context(
                router.serve(replace(RouterConfig.from_settings(second), **ROUTERS_PATIENCE), runtime=recorded.runtime)
            )
            client = await stack.enter_async_context(connected(RouterAddress(server.address, KEY)))
            yield Twice(mesh, (mesh.client, client))


def _with(given: schema.Settings, folder: Path, number: int) -> schema.Settings:
    """Where the router of that number and its replica of the cache are."""
    services = given.services
    changed = services.model_copy(
        update={
            "cache": services.cache.model_copy(update={"address": f"unix:{folder}/cache-{number}.sock"}),
            "router": services.router.model_copy(update={"listen": f"unix:{folder}/router-{number}.sock"}),
        }
    )
    return given.model_copy(update={"services": changed})
