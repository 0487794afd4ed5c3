"""The port of everything that is examined."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Protocol

from services.mesh.doctor.finding import Finding


class Check(Protocol):
    """One thing outside, and what there is to find about it.

    What it finds before its time is over stays; it is then cancelled, so it must bear that at any await. It changes
    nothing that outlives it. An exception is a finding too, and no other check suffers by it.
    """

    @property
    def name(self) -> str: ...

    @property
    def limit_seconds(self) -> float: ...

    def findings(self) -> AsyncIterator[Finding]: ...


class BlockingCheck(Protocol):
    """The same for what blocks: files, libraries, the kernel."""

    @property
    def name(self) -> str: ...

    @property
    def limit_seconds(self) -> float: ...

    def findings(self) -> Iterable[Finding]: ...


@dataclass(frozen=True, slots=True)
class InThread:
    """A Check of a blocking one. Its thread may outlive it: a file system that is gone answers nobody."""

    inner: BlockingCheck

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def limit_seconds(self) -> float:
        return self.inner.limit_seconds

    async def findings(self) -> AsyncIterator[Finding]:
        for finding in await asyncio.to_thread(lambda: list(self.inner.findings())):
            yield finding
