"""What has to be done though no call asks for it: leases of silent organisations are closed, old receipts trimmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import structlog

Sleep = Callable[[float], Awaitable[object]]
Result = Literal["done", "failed"]


class Chore:
    """Done every `period_seconds`. One that fails is tried again at its next time, for Redis may be away.

    `on_end` hears how each time ended.
    """

    def __init__(
        self,
        name: str,
        do: Callable[[], Awaitable[object]],
        *,
        period_seconds: float,
        on_end: Callable[[Result], None] = lambda _: None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.name = name
        self._do = do
        self._period_seconds = period_seconds
        self._on_end = on_end
        self._sleep = sleep
        self._log = structlog.get_logger("chore")

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._sleep(self._period_seconds)
            try:
                await self._do()
            except Exception as error:  # whatever it is, the next time may do better, and leases must end
                self._log.warning(f"{self.name} failed", error=str(error))
                self._on_end("failed")
            else:
                self._on_end("done")
