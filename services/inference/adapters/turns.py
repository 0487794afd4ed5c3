"""Whose turn it is in an engine of ours, and what wakes everybody at once: its death."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.errors import TokenwayError


class Life:
    """Waiting that a death ends. O(1) a wait: a thousand streams wait fifty times a second each."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.death: asyncio.Future[TokenwayError] = self._loop.create_future()
        self._waiting: set[asyncio.Future[None]] = set()

    def end(self, error: TokenwayError) -> None:
        """Fails all that wait now, and all that will."""
        if not self.death.done():
            self.death.set_result(error)
        for each in self._waiting:
            if not each.done():
                each.set_exception(error)

    async def wait(self, woken: asyncio.Future[None]) -> None:
        """Until `woken` is done; the error of `end` if that comes first."""
        if self.death.done():
            raise self.death.result()
        self._waiting.add(woken)
        try:
            await woken
        finally:
            self._waiting.discard(woken)

    async def sleep_until(self, when: float) -> None:
        """Until the event loop's clock says `when`; gives others a turn in any case."""
        woken = self._loop.create_future()
        timer = self._loop.call_at(when, _wake, woken)
        try:
            await self.wait(woken)
        finally:
            timer.cancel()

    async def sleep_for_ever(self) -> None:
        """Until death or cancellation."""
        await self.wait(self._loop.create_future())


class Turns:
    """At most `limit` at once. The others wait: lower priority first, then as they came."""

    def __init__(self, *, limit: int, life: Life) -> None:
        self._free = limit
        self._life = life
        self._order = itertools.count()
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, priority: int) -> AsyncIterator[None]:
        """A turn, given back on exit."""
        await self._take(priority)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, priority: int) -> None:
        if self._free:
            self._free -= 1
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (priority, next(self._order), given))
        try:
            await self._life.wait(given)
        except asyncio.CancelledError:
            if given.done() and not given.cancelled() and given.exception() is None:
                self._give_back()  # the turn came in the same moment as the cancellation
            raise

    def _give_back(self) -> None:
        while self._queue:
            _, _, given = heapq.heappop(self._queue)
            if not given.done():
                given.set_result(None)
                return
        self._free += 1


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
