"""GPUs that are not there."""

from __future__ import annotations

import threading

from services.inference.domain.ports import GpuReading


class FakeGpus:
    """Reads as it is told to, once `answers` is set; until then it blocks, as a driver does that hangs."""

    def __init__(self, gpus: tuple[GpuReading, ...] = (), *, answers: threading.Event | None = None) -> None:
        self._gpus = gpus
        self.answers = answers or _set()
        self.readings = 0

    def read(self) -> tuple[GpuReading, ...]:
        self.readings += 1
        self.answers.wait()
        return self._gpus


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event
