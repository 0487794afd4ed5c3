"""What befalls the mesh: processes killed and started again, Redis frozen and thawed, by lot."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping

from libs.testing.valkey import RedisServer
from tests.chaos.mesh import started
from tests.mesh.processes import Process

REDIS = "redis"
# One strike a kind in turn: a lot of few may leave one out.
_KINDS = ("budget", "router", REDIS, "budget", "small")
_DOWN_SECONDS = (0.0, 1.0)
_FROZEN_SECONDS = (0.3, 4.0)


class Strikes:
    """Strikes at random moments while `go_on` runs; what was struck comes back all the same."""

    def __init__(
        self, processes: Mapping[str, Process], redis: RedisServer, *, every_seconds: float, lot: random.Random
    ) -> None:
        self._processes, self._redis, self._random = processes, redis, lot
        self._every_seconds = every_seconds
        self._down: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.frozen_seconds = 0.0

    async def go_on(self, seconds: float) -> None:
        """For so long; returns when everything is there again."""
        async with asyncio.TaskGroup() as comebacks:
            for kind in self._kinds(seconds):
                await asyncio.sleep(self._random.uniform(0.5, 1.5) * self._every_seconds)
                there = sorted(each for each in (*self._processes, REDIS) if each.startswith(kind))
                name = self._random.choice(there)
                if name not in self._down:
                    comebacks.create_task(self._strike(name, kind))

    def _kinds(self, seconds: float) -> list[str]:
        count = max(len(_KINDS), int(seconds / self._every_seconds))
        kinds = [_KINDS[place % len(_KINDS)] for place in range(count)]
        self._random.shuffle(kinds)
        return kinds

    async def _strike(self, name: str, kind: str) -> None:
        self._down.add(name)
        self.counts[kind] += 1
        if name == REDIS:
            await self._freeze(self._random.uniform(*_FROZEN_SECONDS))
        else:
            await self._processes[name].kill()
            await asyncio.sleep(self._random.uniform(*_DOWN_SECONDS))
            await started(self._processes[name])
        self._down.discard(name)

    async def _freeze(self, seconds: float) -> None:
        self._redis.freeze()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._redis.thaw()
        self.frozen_seconds += seconds
