"""An answer that others wait for besides its caller."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

from services.router.domain.answer import Event


class Ahead:
    """The events as their caller asks for them; once somebody follows, as they come, kept for a caller that is behind.

    So they end, and are booked, when they have come, also where the caller stops reading. Nobody follows an answer that
    may outgrow what the cache keeps of one, which bounds what is kept here.
    """

    def __init__(self, events: AsyncGenerator[Event], *, followed: asyncio.Event) -> None:
        self._events, self._followed = events, followed
        self._come: deque[Event] = deque()
        self._turn = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run(), name="ahead")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        running = self._running
        if running is None:
            return
        running.cancel()
        try:
            if not self._followed.is_set():
                # First, and in the context of their request: a caller that is cancelled may be so again at any moment.
                await self._events.aclose()
            await asyncio.gather(running, return_exceptions=True)
        finally:
            if running.done():  # else its own cancellation ends them
                await self._events.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._come:
            return self._come.popleft()
        async with self._turn:
            if self._come:
                return self._come.popleft()
            if self._running is not None and self._running.done():
                self._running.result()  # what has ended them
            return await anext(self._events)

    async def _run(self) -> None:
        await self._followed.wait()
        while True:
            async with self._turn:
                event = await anext(self._events, None)
                if event is None:
                    return
                self._come.append(event)
