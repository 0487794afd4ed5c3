"""The configuration: every mistake of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from services.mesh.doctor.check import InThread
from services.mesh.doctor.finding import Finding, ok, wrong
from services.mesh.doctor.patient import Patient

if TYPE_CHECKING:
    from libs.settings.schema import Settings


def check(patient: Patient) -> InThread:
    return InThread(Configuration(file=patient.file, settings=patient.settings, mistakes=patient.mistakes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """As `tokenway config check` judges it."""

    name: ClassVar[str] = "configuration"
    limit_seconds: ClassVar[float] = 5
    file: Path
    settings: Settings | None
    mistakes: tuple[str, ...]

    def findings(self) -> Iterator[Finding]:
        for mistake in self.mistakes:
            yield wrong("file", mistake, cure=f"mend it there, then: tokenway config check {self.file}")
        if self.settings is not None:
            models = ", ".join(each.name for each in self.settings.models)
            yield ok("file", f"{self.file}: valid; models: {models}")
