"""Runs every check, all at once, each within its time."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack

from services.mesh.doctor.check import Check
from services.mesh.doctor.finding import Finding, wrong
from services.mesh.doctor.patient import Patient
from services.mesh.doctor.report import Examined, Report
from services.mesh.doctor.threads import AbandonableThreads

# Each is a module beside this one with a function `check`. Loaded one by one, so that a package that is missing costs
# only what needs it.
NAMES = (
    *("installation", "torch", "configuration", "files", "machine", "clock", "ports", "certificates"),
    *("redis", "collector", "models", "gpu", "mesh"),
)
_READING_SECONDS = 5.0


async def examine(admit: Callable[[], Patient], *, names: Iterable[str] = NAMES) -> Report:
    """The findings of every check, whatever any of them does. `admit` may block."""
    asyncio.get_running_loop().set_default_executor(AbandonableThreads())
    try:
        async with asyncio.timeout(_READING_SECONDS):
            patient = await asyncio.to_thread(admit)
    except TimeoutError:
        says = f"the configuration could not be read within {_READING_SECONDS:g} s"
        return Report((Examined("configuration", (wrong("file", says, cure="name a plain file with --config"),)),))
    # All of them before any begins: an import stops the loop, for seconds where the disk is cold, while time runs.
    loaded = [_loaded(name, patient) for name in names]
    return Report(tuple(await asyncio.gather(*(_examined(each) for each in loaded))))


def _loaded(name: str, patient: Patient) -> Check | Examined:
    try:
        check: Check = importlib.import_module(f"services.mesh.doctor.{name}").check(patient)
    except ImportError as error:
        return Examined(name, (wrong("package", f"{error.name or 'a package'} cannot be imported", cure="make setup"),))
    except Exception as error:
        return Examined(name, (_failed(error),))
    return check


async def _examined(loaded: Check | Examined) -> Examined:
    return loaded if isinstance(loaded, Examined) else await outcome(loaded)


async def outcome(check: Check) -> Examined:
    """What the check finds within its time; that it took longer, or failed, is a finding."""
    found: list[Finding] = []
    try:
        async with asyncio.timeout(check.limit_seconds), AsyncExitStack() as stack:
            async for finding in _closing(stack, check.findings()):
                found.append(finding)  # noqa: PERF401 - what was found before a failure stays
    except TimeoutError:
        found.append(
            wrong(
                "time",
                f"no end after {check.limit_seconds:g} s",
                cure="try again when the machine is less busy; else what it asks hangs",
            )
        )
    except Exception as error:  # one check that fails must not hide what the others find
        found.append(_failed(error))
    return Examined(check.name, tuple(found))


def _failed(error: Exception) -> Finding:
    return wrong("check", f"failed itself: {type(error).__name__}: {error}", cure="please report this")


def _closing(stack: AsyncExitStack, findings: AsyncIterator[Finding]) -> AsyncIterator[Finding]:
    # An iterator that is left early must end its `finally` before its connections are forgotten.
    if close := getattr(findings, "aclose", None):
        stack.push_async_callback(close)
    return findings
