"""Whether PyTorch can be imported: tried in a process of its own, since it may be killed by it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from services.mesh.doctor.check import InThread
from services.mesh.doctor.finding import Finding, ok, skipped, wrong
from services.mesh.doctor.patient import Patient

# Two busy cores and a cold disk have needed 20.
_IMPORT_SECONDS = 60.0
_PROGRAM = "import torch; print(torch.__version__)"


def check(patient: Patient) -> InThread:
    # -P: a folder `torch` where the command happens to be run must not be taken for it.
    return InThread(Torch(needed=bool(patient.vllm_engines()), command=(sys.executable, "-P", "-c", _PROGRAM)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Torch:
    """`command` imports it and prints its version."""

    name: ClassVar[str] = "torch"
    # The process is ended before it is given up.
    limit_seconds: ClassVar[float] = _IMPORT_SECONDS + 5
    needed: bool
    command: tuple[str, ...]
    import_seconds: float = _IMPORT_SECONDS

    def findings(self) -> Iterator[Finding]:
        if not self.needed:
            yield skipped("import", "no model of the configuration runs on vLLM here")
            return
        try:
            done = subprocess.run(
                self.command, capture_output=True, text=True, timeout=self.import_seconds, check=False
            )
        except subprocess.TimeoutExpired:
            yield wrong("import", f"no end after {self.import_seconds:g} s", cure="look at the load and at the disk")
            return
        if done.returncode == 0:
            yield ok("import", done.stdout.strip())
            return
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        yield wrong("import", f"fails (exit code {done.returncode}): {last}", cure="rm -f .venv/.pins && make setup")
