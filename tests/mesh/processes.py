"""The mesh as real processes, each of which a test may kill."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from libs.settings import schema
from libs.testing.runtime import MESH_TOKEN
from services.mesh.supervisor.plan import as_yaml

_READY_SECONDS = 60
ROUTER = "router"


@dataclass
class Process:
    """One service; it can be killed and started again at the same address."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    running: asyncio.subprocess.Process | None = None
    metrics_address: str = ""

    async def start(self) -> None:
        """Returns once it serves."""
        self.running = await asyncio.create_subprocess_exec(
            *self.command, stdout=asyncio.subprocess.PIPE, env=self.environment
        )
        assert self.running.stdout is not None
        line = await asyncio.wait_for(self.running.stdout.readline(), _READY_SECONDS)
        if not line.startswith(b"ready "):
            raise RuntimeError(f"{self.name} did not start: {line!r}, exit code {await self.running.wait()}")
        self.metrics_address = line.decode().strip().partition(" metrics=")[2]

    async def kill(self) -> None:
        """With a signal that it cannot handle."""
        assert self.running is not None
        self.running.send_signal(signal.SIGKILL)
        await self.running.wait()

    async def stop(self) -> int:
        """Asks it to end; its exit code."""
        if self.running is None:  # another one did not start
            return 0
        if self.running.returncode is None:
            self.running.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.running.wait(), _READY_SECONDS)


@asynccontextmanager
async def processes(given: schema.Settings, folder: Path) -> AsyncIterator[dict[str, Process]]:
    """Every service as a process while the block runs; each is made to end, however the block does."""
    file = folder / "tokenway.yaml"
    file.write_text(as_yaml(given))
    environment = {**os.environ, "TOKENWAY_MESH_TOKEN": MESH_TOKEN}
    started: dict[str, Process] = {}
    async with AsyncExitStack() as stack:
        for name, options in _plan(given):
            command = (sys.executable, "-P", "-m", f"services.{options[0]}", "--config", str(file), *options[1:])
            started[name] = Process(name, command, environment)
        # The router is asked to end first: what it still has to settle needs the others.
        for each in started.values():
            stack.push_async_callback(each.stop)
        async with asyncio.TaskGroup() as starting:
            for each in started.values():
                if each.name != ROUTER:
                    starting.create_task(each.start())
        await started[ROUTER].start()
        yield started


def _plan(given: schema.Settings) -> list[tuple[str, tuple[str, ...]]]:
    replicas = [
        (f"{model.name}-{index}", ("inference", "--model", model.name, "--replica", str(index)))
        for model in given.models
        for index in range(len(model.endpoints))
    ]
    return [("budget", ("budget",)), ("cache", ("cache",)), *replicas, (ROUTER, ("router",))]
