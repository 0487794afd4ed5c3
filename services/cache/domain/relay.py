"""What a leader makes, on its way to those who follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from libs.errors import TokenwayError
from services.cache.domain.flight import GO_ON_ALONE, Standing
from services.cache.domain.leading import Leading
from services.cache.domain.ports import Flights


class Relay:
    """Publishes while its block runs: what has come while the last was on its way goes as one.

    A flight that nobody follows is not published. One whose block is left before `finish` is its owner's to give back,
    one that publishing finds lost is lost by `on_lost`.
    """

    def __init__(
        self, *, flights: Flights, leading: Leading, max_bytes: int, on_lost: Callable[[Leading], None]
    ) -> None:
        self._flights, self._leading, self._room_bytes = flights, leading, max_bytes
        self._on_lost = on_lost
        self._coming: list[bytes] = []
        self._batch, self._number = b"", 0
        self._some = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._pump = asyncio.create_task(self._publish_all(), name="relay")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    def add(self, piece: bytes) -> None:
        """More of the answer. More than there is room for makes each follower generate for itself."""
        self._room_bytes -= len(piece)
        self._coming.append(piece)
        self._some.set()

    async def finish(self, end: bytes) -> None:
        """All has come: what is left goes with the end. The lead is free then, also where nobody could be told."""
        await self._stop()
        with suppress(TokenwayError):
            if self._batch:
                await self._send()
            await self._send(GO_ON_ALONE if self._room_bytes < 0 else end)
        self._leading.end()

    async def _stop(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait({self._pump})

    async def _publish_all(self) -> None:
        await self._leading.until_followed()
        while not self._leading.over:
            await self._some.wait()
            self._some.clear()
            with suppress(TokenwayError):  # what could not be sent goes with what comes next
                await self._publish()

    async def _publish(self) -> None:
        while self._batch or self._coming:
            full = self._room_bytes < 0
            standing = await self._send(GO_ON_ALONE if full else None)
            if standing is Standing.LOST:
                self._on_lost(self._leading)
            elif full:
                self._leading.end()
            if full or standing is not Standing.FOLLOWED:
                return

    async def _send(self, end: bytes | None = None) -> Standing:
        """The same number for the same pieces, however often they have to be sent."""
        if not self._batch:
            self._batch, self._number = b"".join(self._coming), self._number + 1
            self._coming.clear()
        standing = await self._flights.publish(self._leading.flight, self._number, self._batch, end=end)
        if standing is Standing.ALONE:
            self._coming.insert(0, self._batch)
            self._number -= 1
        self._batch = b""
        return standing
