"""What of a request's time was its engine's, so that the rest can be told: the mesh's own overhead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import TypeVar

from libs.clock import Clock

Waited = TypeVar("Waited")


class EngineWait:
    """Adds up how long one request waited for engines: for each event of theirs, and from one try to the next.

    A `with` block of it does nothing but wait; blocks are not nested.

    The overhead of a request is its duration, from its admission to its end, less these seconds and less those that
    its messages took to send, which are the caller's where it reads slowly. What is left: routing, cache, budget,
    leases, and our own code; not what came before admission, and not the inference service, which is waited for.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_at = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._began_at = self._clock.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.seconds += self._clock.monotonic() - self._began_at

    def over(self, events: AsyncIterator[Waited]) -> AsyncIterator[Waited]:
        """The same events, each waited for in a block of its own; whoever owns them still does."""
        return _Over(events, self)


class _Over(AsyncIterator[Waited]):
    def __init__(self, events: AsyncIterator[Waited], wait: EngineWait) -> None:
        self._events = events
        self._wait = wait

    async def __anext__(self) -> Waited:
        with self._wait:
            return await anext(self._events)
