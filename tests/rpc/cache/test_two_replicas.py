"""Two real caches, processes with the real encoder, over one Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from libs.errors import Reason, TokenwayError
from libs.rpc.client import Client
from libs.settings import schema
from libs.testing.runtime import MESH_TOKEN, recorded_runtime
from services.cache.adapters.index_entries import CHANGES
from services.cache.domain.model import Tier
from services.mesh.supervisor.plan import as_yaml
from tests.mesh.in_process import organisations, settings
from tests.mesh.processes import Process
from tests.rpc.cache.served import FILL, INVALIDATE, LOOKUP, STOP, delta, header, question
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import money_pb2

pytestmark = pytest.mark.processes

STORED = question("How do I reset my password?")
NEAR = question("How can I reset my password?")
SECONDS = 60.0
Answer = TypeVar("Answer")


class Replica:
    """A process, and what a router would say to it."""

    def __init__(self, client: Client, process: Process) -> None:
        self._client, self._process = client, process

    async def fill(self, asks: pb.Question = STORED) -> None:
        as_of = (await self.found(asks)).as_of
        events = (header(asks, tier=Tier.BALANCED, as_of=as_of), delta("Like", " so."), STOP)

        async def sent() -> AsyncIterator[pb.FillRequest]:
            for each in events:
                yield each

        response = await insisted(lambda: self._client.unary(FILL, sent()))
        assert response.stored

    async def found(self, asks: pb.Question = NEAR) -> pb.Found:
        """The last verdict."""
        request = pb.LookupRequest(question=asks, tier=Tier.BALANCED)

        async def last() -> pb.Found:
            async with self._client.stream(LOOKUP, request) as stream:
                found: pb.Found = [each.found async for each in stream][-1]
                return found

        return await insisted(last)

    async def until_found(self, asks: pb.Question = NEAR) -> pb.Found:
        async with asyncio.timeout(SECONDS):
            while (found := await self.found(asks)).verdict != pb.VERDICT_HIT:  # noqa: ASYNC110 # no event says so
                await asyncio.sleep(0.02)
        return found

    @asynccontextmanager
    async def standing_still(self) -> AsyncIterator[None]:
        """It reads no changes and answers nobody."""
        running = self._process.running
        assert running is not None
        running.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            running.send_signal(signal.SIGCONT)

    async def forget_all(self) -> None:
        everything = pb.InvalidateRequest(organisation="acme", all=True)
        await insisted(lambda: self._client.unary(INVALIDATE, everything))


async def insisted(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """Its answer. Where a machine stands still, Redis is away for a moment, as it seems to a cache."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await call()
            except TokenwayError as error:
                if error.reason is not Reason.SERVICE_UNAVAILABLE:
                    raise


@asynccontextmanager
async def replica(folder: Path, name: str, redis_url: str) -> AsyncIterator[Replica]:
    acme, other = organisations()
    given = (acme.model_copy(update={"cache": schema.CachePolicy(tier="balanced")}), other)
    address = f"unix:{folder}/{name}.sock"
    services = schema.Services(cache=schema.Cache(listen=address))
    file = folder / f"{name}.yaml"
    file.write_text(as_yaml(settings(folder, redis_url, services=services, organisations=given)))
    command = (sys.executable, "-P", "-m", "services.cache", "--config", str(file))
    process = Process(name, command, {**os.environ, "TOKENWAY_MESH_TOKEN": MESH_TOKEN})
    await process.start()
    client = recorded_runtime().runtime.client(address, service="cache")
    try:
        yield Replica(client, process)
    finally:
        await client.close()
        assert await process.stop() == 0


async def test_what_one_process_stores_the_other_finds_by_its_meaning(redis_url: str, folder: Path) -> None:
    raw: Any = redis.Redis.from_url(redis_url)
    async with replica(folder, "one", redis_url) as one, replica(folder, "two", redis_url) as two:
        await one.fill()
        found = await two.until_found()
        assert found.origin.kind == money_pb2.CACHE_KIND_SEMANTIC
        assert 0.9 <= found.origin.similarity < 1
        # Changes that one of them never saw are lost; both read all anew, and go on.
        raw.delete(CHANGES)
        await two.fill(question("Where is the office in Lisbon?"))
        await one.until_found(question("Where's the office in Lisbon?"))
        # One that stood still knows of neither what was dropped nor what was stored: misses, until it has caught up.
        async with two.standing_still():
            await one.forget_all()
            await one.fill(question("Where is the canteen in Lisbon?"))
        assert (await two.found()).verdict == pb.VERDICT_MISS
        await two.until_found(question("Where's the canteen in Lisbon?"))
        assert (await one.found()).verdict == pb.VERDICT_MISS
    async with replica(folder, "three", redis_url) as late:
        await late.fill()
        assert (await late.found(question("How can I not reset my password?"))).verdict == pb.VERDICT_MISS
        await late.until_found()
    raw.close()
