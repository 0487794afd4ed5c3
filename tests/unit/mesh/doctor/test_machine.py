"""Memory, disk and open files, held against what is needed."""

from __future__ import annotations

import resource
from collections import namedtuple
from pathlib import Path

import pytest

from services.mesh.doctor import machine
from services.mesh.doctor.clock import Clock
from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.machine import GIB, Engine, Machine
from services.mesh.doctor.memory import available_bytes
from tests.unit.mesh.doctor.found import about, all_of, verdicts

Usage = namedtuple("Usage", "total used free")


def found(
    folder: Path, *, cache_bytes: int | None = None, most_requests: int = 100, model: Path | None = None
) -> list[Finding]:
    engines = () if cache_bytes is None else (Engine(folder, cache_bytes),)
    return list(
        Machine(state=folder / "state" / "deeper", model=model, most_requests=most_requests, engines=engines).findings()
    )


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       8388608 kB\nMemAvailable:    4194304 kB\n")
    return path


def test_a_control_group_may_leave_less_than_the_machine_has(meminfo: Path, tmp_path: Path) -> None:
    assert available_bytes(meminfo=meminfo, group=tmp_path) == 4 * GIB
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1\n")
    assert available_bytes(meminfo=meminfo, group=tmp_path) == 4 * GIB
    (tmp_path / "memory.max").write_text(f"{3 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    assert available_bytes(meminfo=meminfo, group=tmp_path) == 2 * GIB
    assert available_bytes(meminfo=tmp_path / "none", group=tmp_path) is None


@pytest.mark.parametrize(("free", "verdict"), [(3 * GIB, Verdict.OK), (GIB, Verdict.WRONG), (None, Verdict.SKIPPED)])
def test_models_on_the_cpu_must_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, verdict: Verdict
) -> None:
    monkeypatch.setattr(machine, "available_bytes", lambda: free)
    assert about(found(tmp_path, cache_bytes=GIB // 2), "memory").verdict is verdict


@pytest.mark.parametrize(
    ("free", "verdict"), [(2 * GIB, Verdict.OK), (GIB // 2, Verdict.WARNING), (1 << 20, Verdict.WRONG)]
)
def test_a_disk_that_fills_up_is_seen_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, free))
    assert about(found(tmp_path), "disk of the state directory").verdict is verdict


def test_room_for_a_model_matters_until_it_is_there(tmp_path: Path) -> None:
    assert "disk of the model" in verdicts(found(tmp_path, model=tmp_path / "none"))
    assert "disk of the model" not in verdicts(found(tmp_path, model=tmp_path))


@pytest.mark.parametrize(
    ("soft", "verdict"), [(1_024, Verdict.OK), (resource.RLIM_INFINITY, Verdict.OK), (300, Verdict.WARNING)]
)
def test_open_files_are_held_against_the_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft: int, verdict: Verdict
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (soft, soft))
    assert about(found(tmp_path), "open files").verdict is verdict


async def nobody_waits(seconds: float) -> None:
    pass


@pytest.mark.parametrize(
    ("dates", "verdict"), [((100.0, 100.0, 100.2), Verdict.OK), ((100.0, 100.0, 103.2), Verdict.WARNING)]
)
async def test_a_clock_that_jumps_is_seen(dates: tuple[float, ...], verdict: Verdict) -> None:
    date, monotonic = iter(dates), iter((7.0, 7.2))
    clock = Clock(written_at=50, date=lambda: next(date), monotonic=lambda: next(monotonic), sleep=nobody_waits)
    assert verdicts(await all_of(clock)) == {"date": Verdict.OK, "steadiness": verdict}


async def test_a_clock_before_this_software_was_is_wrong() -> None:
    clock = Clock(written_at=2_000_000_000, date=lambda: 1.0, monotonic=lambda: 1.0, sleep=nobody_waits)
    assert about(await all_of(clock), "date").verdict is Verdict.WRONG
