"""What is said when a package is missing that the command itself needs. Nothing but the standard library is."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from services.mesh.doctor.finding import Finding, Verdict, wrong
from services.mesh.doctor.installation import PINS, Installation, installed
from services.mesh.doctor.report import Examined, Report

_OWN = ("libs", "services", "tokenway")


def told(error: ImportError, arguments: Sequence[str]) -> int:
    """Says what is missing and what brings it. Returns the exit code; `doctor --json` gets its object."""
    if error.name is None or error.name.partition(".")[0] in _OWN:
        raise error  # a bug
    report = _report(error)
    if arguments[:1] == ["doctor"] and "--json" in arguments:
        sys.stdout.write(json.dumps(report.fields()) + "\n")
        return 1
    for finding in report.examined[0].findings:
        if finding.verdict is not Verdict.SKIPPED:
            sys.stderr.write(f"{_line(finding)}\n")
    return 1


def _report(error: ImportError) -> Report:
    installation = Installation(python=sys.version_info[:2], installed=installed(), pins=PINS, engine=False)
    cannot = wrong("import", f"{error.name} cannot be imported ({error}); nothing else was examined", cure="make setup")
    return Report((Examined(installation.name, (cannot, *installation.findings())),))


def _line(finding: Finding) -> str:
    return f"{finding.verdict}: {finding.subject}: {finding.says}" + (f" → {finding.cure}" if finding.cure else "")
