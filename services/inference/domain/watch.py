"""Watching the load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from services.inference.domain.generate import refuse_if_dead
from services.inference.domain.load import Load
from services.inference.domain.ports import Engine

# Routers take figures older than 2 s for unknown; and one watcher is not worth more than 50 messages a second.
SILENCE_SECONDS = 1.0
PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Report:
    """The load, and whether new requests are still taken."""

    load: Load
    draining: bool


class LoadWatch:
    """Tells the load to whoever watches it."""

    def __init__(
        self, *, engine: Engine, silence_seconds: float = SILENCE_SECONDS, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._engine = engine
        self._silence_seconds = silence_seconds
        self._pause_seconds = pause_seconds
        self._draining = False

    def drain(self) -> None:
        """From now on every report says that no new request will be taken."""
        self._draining = True

    async def reports(self) -> AsyncGenerator[Report]:
        """At once, then when a request comes, begins to wait or goes, and after a silence; until the engine dies."""
        while True:
            refuse_if_dead(self._engine)
            told = self._engine.load()
            yield Report(told, self._draining)
            await asyncio.sleep(self._pause_seconds)
            await self._news_since(told)

    async def _news_since(self, told: Load) -> None:
        """Returns at once if requests came or went meanwhile."""
        now = self._engine.load()
        if (now.running, now.waiting) != (told.running, told.waiting):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._silence_seconds - self._pause_seconds):
                await self._engine.load_change()
