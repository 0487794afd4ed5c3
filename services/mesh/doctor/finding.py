"""What an examination finds: one sentence, and its cure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from libs.settings.redaction import redacted


class Verdict(StrEnum):
    """How it is: as it should be, worth mending, broken, or not examined for a reason that is said."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing, and how it is. `cure` is a command, a line of the configuration, or empty where nothing is to mend."""

    subject: str
    verdict: Verdict
    says: str
    cure: str = ""


def ok(subject: str, says: str) -> Finding:
    """As it should be."""
    return _finding(subject, Verdict.OK, says)


def warning(subject: str, says: str, *, cure: str) -> Finding:
    """It works, and will hurt some day."""
    return _finding(subject, Verdict.WARNING, says, cure)


def wrong(subject: str, says: str, *, cure: str) -> Finding:
    """The mesh does not work with it, or breaks a promise."""
    return _finding(subject, Verdict.WRONG, says, cure)


def skipped(subject: str, why: str) -> Finding:
    """Not examined."""
    return _finding(subject, Verdict.SKIPPED, why)


def _finding(subject: str, verdict: Verdict, says: str, cure: str = "") -> Finding:
    # The one door: addresses hold passwords, and errors of libraries repeat addresses. A finding is one line.
    return Finding(subject, verdict, " ".join(redacted(says).split()), redacted(cure))
