"""Which processes were killed and when: what a trace may lack because of it, and what it may not."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

# What a killed process may lose: the spans that ended within its last second, and those that had not ended.
LAST_SECONDS = 1.0
# A channel that found nobody asks again after two seconds at the latest.
_FOUND_AGAIN_SECONDS = 3.0
_NANOS = 1_000_000_000


@dataclass(slots=True)
class Kill:
    """One SIGKILL: of which service, of which process, when it was sent, when the process was dead, when it was back.

    Nanoseconds since 1970.
    """

    service: str
    process: str
    at: int
    dead_at: float = math.inf
    back_at: float = math.inf


class Kills:
    """All that there were, in order."""

    def __init__(self) -> None:
        self.all: list[Kill] = []

    def begin(self, service: str, process: str) -> Kill:
        """Called just before the signal is sent."""
        kill = Kill(service, process, time.time_ns())
        self.all.append(kill)
        return kill

    def during(self, service: str, began: int, ended: int, *, process: str = "") -> bool:
        """Whether one was between two moments."""
        return any(began <= each.dead_at and each.at <= ended for each in self._of(service, process))

    def lost(self, service: str, began: int, ended: int, *, process: str = "") -> bool:
        """Whether a span of that service that lived from `began` to `ended` may have died with its process."""
        return any(
            began <= each.dead_at and ended >= each.at - LAST_SECONDS * _NANOS for each in self._of(service, process)
        )

    def away(self, service: str, at: int, *, process: str = "") -> bool:
        """Whether a process of that service was not there at a moment, or not found again yet."""
        return any(each.at <= at <= each.back_at + _FOUND_AGAIN_SECONDS * _NANOS for each in self._of(service, process))

    def _of(self, service: str, process: str) -> Iterator[Kill]:
        return (each for each in self.all if each.service == service and process in ("", each.process))
