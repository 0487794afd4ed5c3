"""Checks run at once, each within its time, and none can hide what another finds."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.mesh.doctor.check import InThread
from services.mesh.doctor.examination import NAMES, examine, outcome
from services.mesh.doctor.finding import Finding, Verdict, ok, skipped, warning, wrong
from services.mesh.doctor.patient import Patient, admitted
from services.mesh.doctor.report import Examined, Report
from services.mesh.doctor.threads import AbandonableThreads
from services.mesh.state_directory import StateDirectory


class Scripted:
    """A check that finds what it is told to, then hangs or fails."""

    name = "scripted"
    limit_seconds = 0.05

    def __init__(self, *found: Finding, hangs: bool = False, fails: Exception | None = None) -> None:
        self._found, self._hangs, self._fails = found, hangs, fails
        self.closed = False

    async def findings(self) -> AsyncIterator[Finding]:
        try:
            for each in self._found:
                yield each
            if self._hangs:
                await asyncio.Event().wait()
            if self._fails:
                raise self._fails
        finally:
            self.closed = True


async def test_a_check_that_hangs_is_ended_and_what_it_had_found_stays() -> None:
    check = Scripted(ok("a", "fine"), hangs=True)
    found = (await outcome(check)).findings
    assert [(each.subject, each.verdict) for each in found] == [("a", Verdict.OK), ("time", Verdict.WRONG)]
    assert found[-1].says == "no end after 0.05 s"
    assert check.closed


async def test_a_check_that_fails_is_a_finding_without_secrets() -> None:
    check = Scripted(fails=RuntimeError("redis://me:hunter2@host is\nodd"))
    (found,) = (await outcome(check)).findings
    assert (found.verdict, found.says) == (Verdict.WRONG, "failed itself: RuntimeError: redis://…@host is odd")


async def test_a_thread_that_hangs_holds_neither_the_check_nor_the_process() -> None:
    let_go, threads = threading.Event(), []

    class Stuck:
        name = "stuck"
        limit_seconds = 0.05

        def findings(self) -> Iterator[Finding]:
            threads.append(threading.current_thread())
            let_go.wait()
            yield ok("a", "late")

    executor = AbandonableThreads()
    asyncio.get_running_loop().set_default_executor(executor)
    try:
        (found,) = (await outcome(InThread(Stuck()))).findings
        assert found.subject == "time"
        assert [each.daemon for each in threads] == [True]
        executor.shutdown(wait=True)
    finally:
        let_go.set()


async def test_a_package_that_is_missing_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "services.mesh.doctor.redis", raising=False)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)  # how Python marks what is absent
    report = await examine(lambda: patient(tmp_path), names=("redis", "clock"))
    assert [(each.check, each.findings[0].subject) for each in report.examined] == [
        ("redis", "package"),
        ("clock", "date"),
    ]
    assert report.examined[0].findings[0].cure == "make setup"


async def test_a_check_that_cannot_be_prepared_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(patient: Patient) -> Scripted:
        raise OSError("redis://me:hunter2@host")

    monkeypatch.setitem(sys.modules, "services.mesh.doctor.one", SimpleNamespace(check=fail))
    report = await examine(lambda: patient(tmp_path), names=("one", "clock"))
    (found,) = report.examined[0].findings
    assert (found.verdict, found.says) == (Verdict.WRONG, "failed itself: OSError: redis://…@host")
    assert report.examined[1].findings[0].subject == "date"


async def test_everything_is_loaded_before_anything_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []

    class Recorded(Scripted):
        async def findings(self) -> AsyncIterator[Finding]:
            events.append("begins")
            yield ok("a", "fine")

    def load(patient: Patient) -> Recorded:
        events.append("loaded")
        return Recorded()

    for name in ("one", "two"):
        monkeypatch.setitem(sys.modules, f"services.mesh.doctor.{name}", SimpleNamespace(check=load))
    await examine(lambda: patient(tmp_path), names=("one", "two"))
    assert events == ["loaded", "loaded", "begins", "begins"]


async def test_a_configuration_that_cannot_be_read_in_time_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.mesh.doctor.examination._READING_SECONDS", 0.05)
    let_go = threading.Event()

    def admit() -> Patient:
        let_go.wait()
        raise AssertionError("nobody is to have waited for this")

    began = time.monotonic()
    report = await examine(admit)
    let_go.set()
    assert report.verdict is Verdict.WRONG
    assert time.monotonic() - began < 30


async def test_every_check_bears_a_refused_configuration(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text("models: redis://me:hunter2@host\n")
    report = await examine(lambda: patient(tmp_path))
    assert [each.check for each in report.examined] == list(NAMES), "a check is named as its module"
    by_name = {each.check: each.findings for each in report.examined}
    assert {each.verdict for each in by_name["configuration"]} == {Verdict.WRONG}
    assert "hunter2" not in str(report.fields())
    failed = [each for found in by_name.values() for each in found if each.subject == "check"]
    assert failed == []


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ((), Verdict.OK),
        ((skipped("a", "why"),), Verdict.OK),
        ((ok("a", ""), warning("b", "", cure="c")), Verdict.WARNING),
        ((wrong("a", "", cure="c"), warning("b", "", cure="c")), Verdict.WRONG),
    ],
)
def test_the_worst_finding_is_the_verdict(found: tuple[Finding, ...], verdict: Verdict) -> None:
    assert Report((Examined("x", found),)).verdict is verdict


def patient(folder: Path) -> Patient:
    return admitted(
        file=folder / "mesh.yaml",
        default=folder / "none",
        state=StateDirectory(folder / "state"),
        environment={},
        default_model=folder / "none",
    )
