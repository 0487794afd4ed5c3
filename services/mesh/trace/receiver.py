"""The embedded collector: OTLP in, the trace store behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from libs.telemetry.otlp_receiver import otlp_receiver
from libs.telemetry.span import EndedSpan
from services.mesh.trace.store import TraceStore


@asynccontextmanager
async def trace_receiver(address: str, *, path: Path, max_traces: int = 10_000) -> AsyncIterator[str]:
    """Receives spans at a local address into the store at `path`; yields the bound address.

    OSError when the address is taken, sqlite3.Error when the file cannot be used.
    """
    loop = asyncio.get_running_loop()
    # One thread, which alone touches the store: SQLite's connections belong to their thread, and the loop never waits
    # for a disk.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="trace-store") as writer:
        store = await loop.run_in_executor(writer, partial(TraceStore.create, path, max_traces=max_traces))
        try:
            async with otlp_receiver(address, sink=_Storing(store, writer)) as bound:
                yield bound
        finally:
            await loop.run_in_executor(writer, store.__exit__, None, None, None)


class _Storing:
    """A SpanSink whose spans are in the file when the sender hears that they came."""

    def __init__(self, store: TraceStore, writer: ThreadPoolExecutor) -> None:
        self._store = store
        self._writer = writer

    async def take(self, spans: Sequence[EndedSpan]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, self._store.add, spans)
