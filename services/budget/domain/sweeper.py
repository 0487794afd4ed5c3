"""Closes the expired leases of organisations that make no calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.budget.domain.ports import Ledger

Sleep = Callable[[float], Awaitable[object]]


class Sweeper:
    """Sweeps every `period_seconds`. A sweep that fails is tried again at its next time, for Redis may be away."""

    def __init__(self, *, ledger: Ledger, period_seconds: float, sleep: Sleep = asyncio.sleep) -> None:
        self._ledger = ledger
        self._period_seconds = period_seconds
        self._sleep = sleep
        self._log = structlog.get_logger("sweeper")

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._sleep(self._period_seconds)
            try:
                await self._ledger.sweep()
            except Exception as error:  # whatever it is, the next sweep may do better, and leases must end
                self._log.warning("a sweep failed", error=str(error))
