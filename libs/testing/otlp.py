"""A collector in the test's own process: a real OTLP/gRPC server whose spans a test can wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from libs.telemetry.otlp_receiver import otlp_receiver
from libs.telemetry.span import EndedSpan


class SpanCollector:
    """A sink in memory: every span once, by its id. `address` is where it receives."""

    def __init__(self) -> None:
        self.address = ""
        self._spans: dict[tuple[str, str], EndedSpan] = {}
        self._changed = asyncio.Condition()

    @property
    def spans(self) -> list[EndedSpan]:
        """All that came, in order of arrival."""
        return list(self._spans.values())

    async def take(self, spans: Sequence[EndedSpan]) -> None:
        async with self._changed:
            for span in spans:
                self._spans.setdefault((span.trace_id, span.span_id), span)
            self._changed.notify_all()

    async def wait_for(
        self, enough: Callable[[list[EndedSpan]], bool], *, timeout_seconds: float = 5.0
    ) -> list[EndedSpan]:
        """The spans as soon as there are enough; AssertionError naming those that came, when time is up."""
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait_for(lambda: enough(self.spans))
        except TimeoutError as error:
            came = sorted(f"{span.service}: {span.name}" for span in self.spans)
            raise AssertionError(f"not enough spans after {timeout_seconds} s; {len(came)} came: {came}") from error
        return self.spans

    async def named(self, *names: str, timeout_seconds: float = 5.0) -> dict[str, EndedSpan]:
        """One span of each name, as soon as all have come."""
        wanted = set(names)
        spans = await self.wait_for(
            lambda come: wanted <= {span.name for span in come}, timeout_seconds=timeout_seconds
        )
        return {span.name: span for span in spans if span.name in wanted}


@asynccontextmanager
async def span_collector(address: str = "127.0.0.1:0") -> AsyncIterator[SpanCollector]:
    """A collector that is listening."""
    collector = SpanCollector()
    async with otlp_receiver(address, sink=collector) as bound:
        collector.address = bound
        yield collector
