"""What requests of this router have asked the cache a moment ago, and whether it had something for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from libs.clock import Clock

_REMEMBERED_SECONDS = 2.0
_MOST_REMEMBERED = 10_000


class AskedLately:
    """Who asks the same at the same time waits for the one who asks already, and is told what to expect.

    A cache is given little time, for to go on without it costs little. Where it is known to have the answer, or
    somebody who makes it, it costs a generation: and a hundred who ask at once keep the cache busy for longer than that
    little time.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._asking: dict[bytes, asyncio.Future[None]] = {}
        # In the order of their time.
        self._promising_until: dict[bytes, float] = {}

    async def promises(self, question: bytes) -> bool:
        """Whether the cache has had something for this question lately; whoever asks it just now is waited for."""
        if not self._promising(question) and (asking := self._asking.get(question)) is not None:
            await asyncio.wait({asking})
        return self._promising(question)

    @contextmanager
    def asking(self, question: bytes) -> Iterator[Callable[[], None]]:
        """While the cache is asked; what it yields is to be called when it has something."""
        answered = asyncio.get_running_loop().create_future()
        first = self._asking.setdefault(question, answered) is answered
        try:
            yield lambda: self._promise(question, answered)
        finally:
            if first:
                del self._asking[question]
            _end(answered)

    def _promise(self, question: bytes, answered: asyncio.Future[None]) -> None:
        self._promising_until.pop(question, None)
        self._promising_until[question] = self._clock.monotonic() + _REMEMBERED_SECONDS
        self._forget()
        _end(answered)

    def _promising(self, question: bytes) -> bool:
        return self._promising_until.get(question, 0.0) > self._clock.monotonic()

    def _forget(self) -> None:
        now = self._clock.monotonic()
        while self._promising_until:
            oldest, until = next(iter(self._promising_until.items()))
            if until > now and len(self._promising_until) <= _MOST_REMEMBERED:
                return
            del self._promising_until[oldest]


def _end(answered: asyncio.Future[None]) -> None:
    if not answered.done():
        answered.set_result(None)
