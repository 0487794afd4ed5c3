"""How late the event loop is: what every call of this process waits for beside its own work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Histogram

from libs.clock import Clock
from libs.telemetry import names

# Ten samples a second cost less than a thousandth of a core.
EVERY_SECONDS = 0.1
_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class LoopLag:
    """Measures while `watch` runs. A loop that stands still gives one sample, as large as it stood still."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._lag = Histogram(
            names.METRIC_LOOP_LAG,
            "How much later than asked for the event loop ran a timer.",
            buckets=_BUCKETS_SECONDS,
            registry=registry,
        )

    async def watch(self) -> None:
        """Runs until it is cancelled."""
        while True:
            due_at = self._clock.monotonic() + EVERY_SECONDS
            await self._sleep(EVERY_SECONDS)
            # Timers fire a millisecond early at times.
            self._lag.observe(max(0.0, self._clock.monotonic() - due_at))
