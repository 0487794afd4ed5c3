"""All that was found, as a program reads it: the shape is documented in services/mesh/README.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from services.mesh.doctor.finding import Finding, Verdict

_FROM_GOOD_TO_BAD = (Verdict.SKIPPED, Verdict.OK, Verdict.WARNING, Verdict.WRONG)


@dataclass(frozen=True, slots=True)
class Examined:
    """What one check found."""

    check: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What all checks found, in their order."""

    examined: tuple[Examined, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst; what was skipped says nothing."""
        worst = max((_FROM_GOOD_TO_BAD.index(each.verdict) for each in self._findings()), default=0)
        return max(Verdict.OK, _FROM_GOOD_TO_BAD[worst], key=_FROM_GOOD_TO_BAD.index)

    def count(self, verdict: Verdict) -> int:
        """How many findings have that verdict."""
        return sum(each.verdict is verdict for each in self._findings())

    def fields(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "verdict": self.verdict.value,
            "findings": [
                {
                    "check": each.check,
                    "subject": finding.subject,
                    "verdict": finding.verdict.value,
                    "says": finding.says,
                    "cure": finding.cure or None,
                }
                for each in self.examined
                for finding in each.findings
            ],
        }

    def _findings(self) -> Iterator[Finding]:
        for each in self.examined:
            yield from each.findings
