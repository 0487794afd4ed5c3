"""Findings, as tests look at them."""

from __future__ import annotations

from collections.abc import Iterable

from services.mesh.doctor.check import Check
from services.mesh.doctor.finding import Finding, Verdict


def about(findings: Iterable[Finding], subject: str) -> Finding:
    """The one finding about the subject."""
    (found,) = (each for each in findings if each.subject == subject)
    return found


def verdicts(findings: Iterable[Finding]) -> dict[str, Verdict]:
    """The verdict on every subject."""
    return {each.subject: each.verdict for each in findings}


async def all_of(check: Check) -> list[Finding]:
    """What the check finds, without a limit."""
    return [each async for each in check.findings()]
