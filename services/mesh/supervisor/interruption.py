"""Signals to the mesh: the first asks it to drain, the second kills."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# SIGHUP: the terminal was closed.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interruption:
    """Set by the first signal. What `on_second` holds is called by every later one."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.by: signal.Signals | None = None
        self.on_second: Callable[[], None] = lambda: None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals of this process while the block runs."""
        loop = asyncio.get_running_loop()
        # What was ignored from the start stays ignored: nohup means it.
        heard = [each for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN]
        for each in heard:
            loop.add_signal_handler(each, self._came, each)
        try:
            yield
        finally:
            for each in heard:
                loop.remove_signal_handler(each)

    def _came(self, number: signal.Signals) -> None:
        if self.asked.is_set():
            self.on_second()
        self.by = self.by or number
        self.asked.set()
