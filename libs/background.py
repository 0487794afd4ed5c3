"""Work that outlives the request that began it: owned, waited for at shutdown, its failures seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

Result = TypeVar("Result")


class Background:
    """Owns tasks while its `async with` block runs; leaving the block waits for them, `drain_seconds` at most.

    A caller that is cancelled does not cancel what it began here: a settlement reaches the ledger all the same.
    """

    def __init__(self, *, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds
        self._tasks: set[asyncio.Task[Any]] = set()
        self._log = structlog.get_logger("background")

    def begin(self, work: Coroutine[Any, Any, Result], *, name: str) -> asyncio.Task[Result]:
        """Starts it and lets it run to its end."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=self._drain_seconds)
        for task in late:
            self._log.error("given up at shutdown", task=task.get_name())
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Retrieves the exception, so that one nobody waits for is logged here and not at some later collection.
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.warning("background work failed", task=task.get_name(), error=str(error))


@asynccontextmanager
async def running(work: Coroutine[Any, Any, object], *, name: str) -> AsyncIterator[None]:
    """The work runs while the block does. When it fails before, the log says so, and the block goes on without it."""
    log = structlog.get_logger("background")
    # Not a TaskGroup, which would hide what the block raises, a port in use say, in an ExceptionGroup.
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(lambda ended: _tell(ended, log))
    try:
        yield
    finally:
        task.cancel()
        # To await the task itself would take a cancel that is meant for us for the one that it has had.
        await asyncio.wait({task})


def _tell(ended: asyncio.Task[Any], log: Any) -> None:
    if not ended.cancelled() and (error := ended.exception()) is not None:
        log.error("background work failed", task=ended.get_name(), error=repr(error))
