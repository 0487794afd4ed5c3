"""A request that generates for all who ask the same."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from services.router.domain.ports import Looking
from services.router.domain.storing import Storing


class Leading:
    """Hears, while its block runs, that somebody follows, and lets the answer be sent as it comes from then on."""

    def __init__(self, *, looking: Looking, storing: Storing) -> None:
        self._looking, self._storing = looking, storing
        self._hearing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._hearing = asyncio.create_task(self._hear(), name="leading")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._storing.close()
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.wait({self._hearing})

    async def ended(self, *, within_seconds: float) -> None:
        """The cache ends the look-up of a leader whose answer is whole: waits for that, so that it is not left."""
        if self._hearing is not None:
            await asyncio.wait({self._hearing}, timeout=within_seconds)

    async def _hear(self) -> None:
        while await self._looking.followed():
            self._storing.share()
