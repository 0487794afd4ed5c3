"""A flight that a caller of this replica leads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from services.cache.domain.flight import Flight
from services.cache.domain.found import Publish


class Leading:
    """Until it is over: its answer has ended, or the lead was lost."""

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.followed = self.over = False
        self._followed, self._over = asyncio.Event(), asyncio.Event()

    def follow(self) -> None:
        """Somebody follows."""
        self.followed = True
        self._followed.set()

    def end(self) -> None:
        """It is over."""
        self.over = True
        self._over.set()
        self._followed.set()  # nobody waits any longer

    async def until_followed(self) -> None:
        """Returns when somebody follows, or when it is over."""
        await self._followed.wait()

    async def events(self) -> AsyncGenerator[Publish]:
        """What its leader is told, until it is over."""
        await self._followed.wait()
        if not self.over:
            yield Publish()
        await self._over.wait()
