"""The clock of this machine, by itself. How far it is from Redis's, `redis` says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from services.mesh.doctor.finding import Finding, ok, warning, wrong
from services.mesh.doctor.patient import Patient

_WATCHED_SECONDS = 0.2
_JUMP_SECONDS = 0.05
_CURE = "sudo timedatectl set-ntp true"


def check(patient: Patient) -> Clock:
    return Clock(written_at=Path(__file__).stat().st_mtime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Cannot be before `written_at`, when this software was; and does not jump. Times are Unix seconds."""

    name: ClassVar[str] = "clock"
    limit_seconds: ClassVar[float] = 5
    written_at: float
    date: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def findings(self) -> AsyncIterator[Finding]:
        now = self.date()
        said = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
        if now < self.written_at:
            written = datetime.fromtimestamp(self.written_at, UTC)
            says = (
                f"says {said}, and this software was installed on {written:%Y-%m-%d}: keys expire and days end wrongly"
            )
            yield wrong("date", says, cure=_CURE)
        else:
            yield ok("date", said)
        jump = await self._jump()
        if abs(jump) > _JUMP_SECONDS:
            says = f"jumped by {jump * 1_000:+.0f} ms within {_WATCHED_SECONDS * 1_000:.0f} ms: something sets it"
            yield warning("steadiness", says, cure="let one thing set the clock, by slewing it: chrony, or ntpd -x")
        else:
            yield ok("steadiness", "runs as evenly as the monotonic one")

    async def _jump(self) -> float:
        """By how much the date moved other than time passed. A pause of this process moves both alike."""
        before = self.date() - self.monotonic()
        await self.sleep(_WATCHED_SECONDS)
        return self.date() - self.monotonic() - before
