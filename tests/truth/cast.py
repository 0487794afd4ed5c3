"""Who asks: a caller a router, of which those are chosen whose router is there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
from opentelemetry.trace import Tracer

from libs.rpc.channel import dial
from tests.truth.caller import Caller
from tests.truth.mesh import NARROW, ROUTERS, address
from tests.truth.scenarios import Stage
from tests.truth.seen import Seen


class Cast:
    """A stage for each request. A router that `leaves` gets no new ones until it `returned`."""

    def __init__(self, callers: dict[str, Caller], channels: dict[str, grpc.aio.Channel], *, seed: int) -> None:
        self._callers, self._channels = callers, channels
        self._there = set(ROUTERS)
        self._narrow_lock = asyncio.Lock()
        self._random = random.Random(seed)

    def stage(self, router: str | None = None) -> Stage:
        """With a caller of that router; else of any that is there."""
        chosen = router or self._random.choice(sorted(self._there))
        return Stage(self._callers[chosen], self._callers[NARROW], self._narrow_lock, self._random)

    def leaves(self, router: str) -> None:
        self._there.discard(router)

    async def returned(self, router: str) -> None:
        """Once it can be reached: a channel that found nobody waits before it asks again."""
        await self._channels[router].channel_ready()
        self._there.add(router)


@asynccontextmanager
async def cast(folder: Path, *, tracer: Tracer, began: Callable[[Seen], None], seed: int) -> AsyncIterator[Cast]:
    """Callers of every router, while the block runs."""
    async with AsyncExitStack() as stack:
        channels = {name: await stack.enter_async_context(dial(address(folder, name))) for name in (*ROUTERS, NARROW)}
        callers = {name: Caller(channel, router=name, tracer=tracer, began=began) for name, channel in channels.items()}
        await asyncio.gather(*(each.channel_ready() for each in channels.values()))
        yield Cast(callers, channels, seed=seed)
