"""All child processes of the mesh: started in groups, watched for as long as they run, stopped group by group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from services.mesh.errors import ServiceFailedError
from services.mesh.supervisor.process import ChildProcess, Program


class Children:
    """Knows every child. `died` gets the failure of the first that ends without having been asked to."""

    def __init__(self, *, environment: Mapping[str, str], logs: Path) -> None:
        self.died: asyncio.Future[ServiceFailedError] = asyncio.get_running_loop().create_future()
        # True from the moment at which the first group is being stopped: a cancel would then leave children behind.
        self.is_stopping = False
        self._environment = environment
        self._logs = logs
        self._all: list[ChildProcess] = []

    @asynccontextmanager
    async def running(
        self, programs: Iterable[Program], *, grace_seconds: float
    ) -> AsyncIterator[tuple[ChildProcess, ...]]:
        """The programs, while the block runs; then they are stopped, all at once, each within the grace."""
        group: list[ChildProcess] = []
        # No TaskGroup: it would cancel the watching and the stopping when the block fails, which is when they matter.
        try:
            for program in programs:
                group.append(await self._start(program))  # noqa: PERF401 - when one fails, those before are stopped
            yield tuple(group)
        finally:
            self.is_stopping = True
            await asyncio.gather(*(child.stop(grace_seconds=grace_seconds) for child in group))

    def kill(self) -> None:
        """Ends every child now."""
        for child in self._all:
            child.kill()

    async def _start(self, program: Program) -> ChildProcess:
        child = await ChildProcess.start(
            program,
            environment=self._environment,
            log_path=self._logs / f"{program.name}.log",
            on_death=self._died,
        )
        self._all.append(child)
        return child

    def _died(self, failure: ServiceFailedError) -> None:
        if not self.died.done():
            self.died.set_result(failure)
