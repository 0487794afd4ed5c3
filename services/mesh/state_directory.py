"""What a mesh on one machine keeps: its key, its data, its logs, and where it can be reached. For its owner alone."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from libs.keys import new_api_key
from services.mesh.errors import MeshError

_TRIES, _BETWEEN_TRIES_SECONDS = 5, 0.02


@dataclass(frozen=True, slots=True)
class RunningMesh:
    """Where a running mesh is."""

    router: str
    # Whether the router speaks TLS.
    tls: bool = False


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """A folder of mode 0700. At most one mesh runs in it."""

    root: Path

    @classmethod
    def of(cls, chosen: Path | None, environment: Mapping[str, str]) -> StateDirectory:
        """The chosen folder, else TOKENWAY_STATE_DIR, else `tokenway` where XDG keeps state."""
        if chosen is None and (named := environment.get("TOKENWAY_STATE_DIR")):
            chosen = Path(named)
        if chosen is None:
            xdg = Path(environment.get("XDG_STATE_HOME", ""))
            # A relative path is to be ignored, says the XDG specification.
            chosen = (xdg if xdg.is_absolute() else Path.home() / ".local" / "state") / "tokenway"
        return cls(chosen.absolute())

    @property
    def api_key_file(self) -> Path:
        return self.root / "api-key"

    @property
    def configuration_file(self) -> Path:
        return self.root / "effective.yaml"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def sockets(self) -> Path:
        """A link to the folder of the sockets, whose own path must be short."""
        return self.root / "sockets"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    @property
    def traces(self) -> Path:
        return self.root / "traces.sqlite"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Makes the folder if need be, and holds it while the block runs. MeshError when another mesh holds it."""
        try:
            for folder in (self.root, self.logs, self.valkey):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not inherited by children, so the kernel lets go of it when this process ends, however it ends.
            lock = self._lock.open("a")
        except OSError as error:
            raise MeshError(f"cannot use the state directory {self.root}: {error.strerror}") from None
        with lock:
            if not _acquired(lock):
                raise MeshError(
                    f"a mesh is running in {self.root} already: stop it, or choose another folder with --state-dir"
                )
            self.withdraw()  # what a mesh that was killed had said
            yield

    def running(self) -> RunningMesh | None:
        """The mesh that runs here; None where none does, whatever a killed one left behind."""
        if not self._is_owned():
            return None
        try:
            return RunningMesh(**json.loads(self._announcement.read_text()))
        except (OSError, ValueError, TypeError):  # none, or not ours
            return None

    def announce(self, mesh: RunningMesh) -> None:
        """Tells clients on this machine where the mesh is."""
        self._write(self._announcement, json.dumps(asdict(mesh)))

    def withdraw(self) -> None:
        """Takes the announcement back."""
        self._announcement.unlink(missing_ok=True)

    def api_key(self) -> str:
        """The owner's key, made at the first call. It is in this folder only: never in logs or the configuration.

        MeshError when the file is there and holds none.
        """
        if not self.api_key_file.exists():
            self._write(self.api_key_file, new_api_key())
        if key := self.api_key_file.read_text().strip():
            return key
        raise MeshError(f"{self.api_key_file} is empty: remove it and start the mesh again, which makes a new key")

    def write_configuration(self, text: str) -> Path:
        """Keeps the configuration that the services read."""
        self._write(self.configuration_file, text)
        return self.configuration_file

    def remember_request(self, request_id: str) -> None:
        """So that `tokenway trace last` finds it. Nothing happens where no mesh ever ran."""
        if self.root.is_dir():
            self._write(self._last_request, request_id)

    def last_request(self) -> str | None:
        """The id of the last request that was sent from here."""
        try:
            return self._last_request.read_text().strip() or None
        except OSError:
            return None

    @property
    def _lock(self) -> Path:
        return self.root / "lock"

    @property
    def _announcement(self) -> Path:
        return self.root / "mesh.json"

    @property
    def _last_request(self) -> Path:
        return self.root / "last-request"

    def _is_owned(self) -> bool:
        try:
            with self._lock.open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _write(self, path: Path, text: str) -> None:
        """Whole or not at all, and readable by the owner alone from the first byte on."""
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        scratch.replace(path)


def _acquired(lock: TextIO) -> bool:
    # A client that asks whether a mesh runs holds the lock for a moment.
    for _ in range(_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_BETWEEN_TRIES_SECONDS)
        else:
            return True
    return False
