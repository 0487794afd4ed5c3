"""Who can read what should be read by its owner alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from services.mesh.doctor.check import InThread
from services.mesh.doctor.finding import Finding, ok, skipped, warning, wrong
from services.mesh.doctor.patient import Patient
from services.mesh.state_directory import StateDirectory

if TYPE_CHECKING:
    from libs.settings.schema import Settings

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check(patient: Patient) -> InThread:
    # One key may serve two purposes.
    secrets = tuple(dict.fromkeys(_secrets(patient.settings))) if patient.settings else ()
    return InThread(Files(state=patient.state, secrets=secrets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """`secrets` are the files with keys that the configuration names."""

    name: ClassVar[str] = "files"
    limit_seconds: ClassVar[float] = 5
    state: StateDirectory
    secrets: tuple[Path, ...]

    def findings(self) -> Iterator[Finding]:
        yield from self._state_directory()
        for path in self.secrets:
            yield _secret(path)

    def _state_directory(self) -> Iterator[Finding]:
        root, key = self.state.root, self.state.api_key_file
        if not root.exists():
            yield skipped("state directory", f"{root} is not there yet; the first `tokenway up` makes it")
            return
        status = root.stat()
        if not root.is_dir():
            yield wrong("state directory", f"{root} is no folder", cure="name another one with --state-dir")
        elif status.st_uid != os.geteuid():
            says = f"{root} belongs to the user {status.st_uid}, and this is {os.geteuid()}"
            yield wrong("state directory", says, cure=f"sudo chown -R $USER {root}, or another one with --state-dir")
        elif not os.access(root, os.W_OK | os.X_OK):
            yield wrong("state directory", f"{root} cannot be written to", cure=f"chmod 700 {root}")
        elif status.st_mode & _OTHERS:
            says = f"others may look into {root} (mode {status.st_mode & 0o777:04o}): keys and traces are there"
            yield wrong("state directory", says, cure=f"chmod 700 {root}")
        else:
            yield ok("state directory", f"{root}, for its owner alone")
        if key.is_file():
            yield _secret(key)


def _secret(path: Path) -> Finding:
    subject = path.name
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return wrong(
            subject, f"{path} cannot be read: {error.strerror}", cure=f"put it there, or name it rightly: {path}"
        )
    if not os.access(path, os.R_OK):
        return wrong(subject, f"{path} may not be read by this user", cure=f"chown $USER {path} && chmod 600 {path}")
    if mode & _OTHERS:
        # Not wrong: so orchestrators mount secrets into containers, where nobody else is.
        who = "everybody" if mode & stat.S_IRWXO else "a group"
        return warning(subject, f"{who} may read {path} (mode {mode & 0o777:04o})", cure=f"chmod 600 {path}")
    return ok(subject, f"{path}, for its owner alone")


def _secrets(settings: Settings) -> Iterator[Path]:
    telemetry = settings.telemetry
    keys = [each.key_file for each in (settings.services.router.tls, settings.mesh_tls) if each is not None]
    for named in (*keys, telemetry.otlp_tls_key_file, telemetry.otlp_headers_file):
        if named is not None:
            yield Path(named)
    for model in settings.models:
        if model.engine is not None and model.engine.kind == "openai" and model.engine.api_key_file:
            yield Path(model.engine.api_key_file)
