"""One child process, from its start to its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.mesh.errors import ServiceFailedError
from services.mesh.supervisor import log

_TETHER = Path(__file__).with_name("tether.py")
_READY = re.compile(rb"ready (?P<name>\S+)=(?P<address>\S+) metrics=(?P<metrics>\S+)\s*")
_LINES_SHOWN = 8
_LAST_WORDS_SECONDS = 1.0
_LONGEST_LINE_BYTES = 1 << 20

OnDeath = Callable[[ServiceFailedError], None]


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and under which name. `rpc_service` is the one whose health says that it serves."""

    name: str
    command: tuple[str, ...]
    rpc_service: str = ""


class ChildProcess:
    """A program that ends with this process, whatever ends this process.

    Its standard error, and what it prints after its ready line, go to its log. `on_death` is called when it ends
    without having been asked to.
    """

    def __init__(self, program: Program, process: Process, log_path: Path, on_death: OnDeath) -> None:
        self.name = program.name
        self.rpc_service = program.rpc_service
        self.log_path = log_path
        self._process = process
        self._on_death = on_death
        self._address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stopping = False
        # Its one task: it reads what the child prints, since a full pipe would stop it, and notices its end.
        self._watching = asyncio.create_task(self._watch(), name=f"watch {program.name}")

    @classmethod
    async def start(
        cls, program: Program, *, environment: Mapping[str, str], log_path: Path, on_death: OnDeath
    ) -> ChildProcess:
        """Starts it. A session of its own keeps the terminal's Ctrl-C from it: who stops when is decided here."""
        tether = (sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), "--")
        with log.opened(log_path) as errors:
            process = await asyncio.create_subprocess_exec(
                *(*tether, *program.command),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=errors,
                env=dict(environment),
                start_new_session=True,
                limit=_LONGEST_LINE_BYTES,
            )
        return cls(program, process, log_path, on_death)

    def serves(self, address: str) -> None:
        """Called once it serves; by itself for a program that says so."""
        self._address.set_result(address)

    async def address(self) -> str:
        """Where it serves, once it has said so. Waits for ever when it ends instead: `on_death` tells of that."""
        return await asyncio.shield(self._address)

    async def stop(self, *, grace_seconds: float) -> None:
        """Asks it to end, and ends it when it does not within the grace. Returns when it is gone."""
        self._stopping = True
        if self._process.returncode is None:
            self._process.terminate()
        await asyncio.wait({self._watching}, timeout=grace_seconds)
        self.kill()
        await self._watching

    def kill(self) -> None:
        """Ends it now, with whatever it started."""
        self._stopping = True
        if self._process.returncode is None:
            # Its session makes it the leader of a group; unreaped, the group's number is still its own.
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _watch(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read())
            await self._process.wait()
            # A grandchild may hold the pipe open for ever; what the child said itself is there already.
            await asyncio.wait({reading}, timeout=_LAST_WORDS_SECONDS)
            reading.cancel()
        if not self._stopping:
            self._on_death(self._failure())

    def _failure(self) -> ServiceFailedError:
        """Why it ended, by its own last words."""
        code = self._process.returncode or 0
        # What was killed had no time to say why: whatever stands last in its log is about something else.
        cause = log.last_words(self.log_path) if code >= 0 else ""
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        verb = "ended" if self._address.done() else "could not start"
        if cause:
            return ServiceFailedError(f"{self.name} {verb} ({how}): {cause}; its log: {self.log_path}")
        message = f"{self.name} {verb} ({how}); the end of its log {self.log_path}:"
        return ServiceFailedError(message, log.last_lines(self.log_path, _LINES_SHOWN))

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was started with a pipe
        with self.log_path.open("ab", buffering=0) as log_file:
            async for line in self._process.stdout:
                if self._address.done() or not (said := _READY.fullmatch(line)):
                    log_file.write(log.printed(line))
                else:
                    self.serves(said["address"].decode())
