"""Kills processes in mid-stream, while everything else goes on, and starts them again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

from tests.mesh.processes import Process
from tests.truth.cast import Cast
from tests.truth.endings import LEFT_BETWEEN_DELTAS
from tests.truth.kills import LAST_SECONDS, Kills
from tests.truth.mesh import ROUTERS
from tests.truth.scenarios import endless
from tests.truth.seen import Seen
from tests.truth.trace import INFERENCE, ROUTER

_VICTIMS = 12
_BEGUN_WITHIN_SECONDS = 10.0
_TARGETS = (ROUTERS[0], "small-0", ROUTERS[1], "small-1")


class _Victims:
    """Callers of long answers, of whom those leave in the end whose router and engine are still there."""

    def __init__(self, count: int) -> None:
        self.may_leave = False
        self._count = count
        self._begun: set[str] = set()
        self._all_begun = asyncio.Event()

    def leave(self, seen: Seen) -> bool:
        """Asked after each event."""
        if seen.deltas:
            self._begun.add(seen.trace_id)
        if len(self._begun) == self._count:
            self._all_begun.set()
        return self.may_leave

    async def begun(self) -> None:
        """Returns when all have tokens; or after a while, for one of them may have been refused."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_begun.wait(), _BEGUN_WITHIN_SECONDS)


class Reaper:
    """One process after another."""

    def __init__(self, processes: Mapping[str, Process], *, cast: Cast, kills: Kills) -> None:
        self._processes, self._cast, self._kills = processes, cast, kills

    async def strike(self, number: int) -> None:
        """Kills the next process in the midst of long answers; returns once it is there again and they have ended."""
        name = _TARGETS[number % len(_TARGETS)]
        is_router = name in ROUTERS
        # Those of an engine are spread over its replicas.
        count = _VICTIMS if is_router else 2 * _VICTIMS
        victims = _Victims(count)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                stage = self._cast.stage(name if is_router else None)
                tasks.create_task(stage.caller.ask(LEFT_BETWEEN_DELTAS, endless(victims.leave)))
            await victims.begun()
            # Long enough for the spans of their beginnings to be exported: only the last second may be lost.
            await asyncio.sleep(1.5 * LAST_SECONDS)
            await self._kill(name, ROUTER if is_router else INFERENCE)
            victims.may_leave = True

    async def _kill(self, name: str, service: str) -> None:
        if service == ROUTER:
            self._cast.leaves(name)
        kill = self._kills.begin(service, name)
        await self._processes[name].kill()
        kill.dead_at = time.time_ns()
        await self._processes[name].start()
        if service == ROUTER:
            await self._cast.returned(name)
        kill.back_at = time.time_ns()
