"""Runs `tokenway`, and sees what is left of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.unit.mesh.processes import Process, descendants

# Two busy cores may take long for four interpreters.
PATIENCE_SECONDS = 60.0
COMMAND = (sys.executable, "-c", "from services.mesh.cli import main; main()")

SCRIPTED: dict[str, Any] = {
    # The usual 20 ms for the cache are a miss on a busy machine.
    "services": {"router": {"listen": "127.0.0.1:0", "drain_seconds": 10, "cache_lookup_seconds": 5}},
    "models": [
        {
            "name": "small",
            "tier": "small",
            "capabilities": ["simple_qa"],
            "context_window_tokens": 4096,
            "p99_latency_seconds": 2,
            "price": {"input_usd_per_million_tokens": 0.2, "output_usd_per_million_tokens": 0.2},
            "endpoints": ["127.0.0.1:0"],
            "engine": {"kind": "scripted", "tokens_per_second": 100, "allow_directives": True},
        }
    ],
    "organisations": [{"name": "acme"}],
}


def scripted(folder: Path, **changes: Any) -> Path:
    """A configuration with the scripted engine; `changes` replace its sections."""
    path = folder / "mesh.yaml"
    path.write_text(yaml.safe_dump(SCRIPTED | changes))
    return path


class Running:
    """A command that runs. Its standard error is in a file, so that it never blocks."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], errors: Path) -> None:
        self._errors = errors
        with errors.open("wb") as file:
            self.process = subprocess.Popen(
                (*COMMAND, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                env=environment,
                text=True,
                bufsize=1,
                process_group=0,
            )
        assert self.process.stdout is not None
        self.output = self.process.stdout

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def line(self) -> str:
        """Its next line."""
        ready, _, _ = select.select([self.output], [], [], PATIENCE_SECONDS)
        assert ready, f"no line within {PATIENCE_SECONDS} s: {self.errors}"
        return self.output.readline()

    def descendants(self) -> list[Process]:
        return descendants(self.process.pid)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, *, group: bool = False) -> int:
        """Its exit code after the signal, to it alone or to its group. Whatever it had started must be gone."""
        below = self.descendants()
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.send(number)
        code = self.process.wait(PATIENCE_SECONDS)
        assert left(below) == []
        return code


class Tokenway:
    """A user of this machine. A context manager: at its end nothing that they started may be running."""

    def __init__(self, *, state: Path) -> None:
        self.state = state
        kept = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        self.environment = {**kept, "TOKENWAY_STATE_DIR": str(state), "NO_COLOR": "1"}
        self._started: list[Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        running = [each for each in self._started if each.process.poll() is None]
        for each in running:
            each.process.kill()
            each.process.wait()
        for each in self._started:
            each.output.close()
        assert not running or kind is not None, "a test ends what it starts"

    def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """A command to its end; `given` is its standard input."""
        return subprocess.run(
            (*COMMAND, *arguments),
            input=given,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def start(self, *arguments: str) -> Running:
        """A command that goes on."""
        errors = self.state.with_name(f"errors-{len(self._started)}")
        running = Running(arguments, self.environment, errors)
        self._started.append(running)
        return running

    def up(self, config: Path, *arguments: str) -> Running:
        """A mesh that is ready."""
        running = self.start("up", "--config", str(config), *arguments)
        line = running.line()
        assert line.startswith("ready router="), running.errors
        return running


def left(processes: list[Process], *, seconds: float = PATIENCE_SECONDS) -> list[Process]:
    """Those that still run when the time is over; returns as soon as all are gone."""
    deadline = time.monotonic() + seconds
    return [each for each in processes if not _ends(each, deadline)]


def _ends(process: Process, deadline: float) -> bool:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        ended, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
    finally:
        os.close(descriptor)
    return bool(ended)
