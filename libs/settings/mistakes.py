"""Mistakes of a configuration: where, what, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from libs.settings.redaction import redacted

# From the file's root: names of fields and indices of lists.
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong: the value, and what is allowed. `at_key` points at the field's name, not its value."""

    path: Path
    message: str
    at_key: bool = False


@dataclass(frozen=True, slots=True)
class PlacedMistake:
    """A mistake as a person reads it; `source` is the file's name, or `environment`."""

    source: str
    place: Place | None
    mistake: Mistake

    def __str__(self) -> str:
        place = f":{self.place.line}:{self.place.column}" if self.place else ""
        return f"{self.source}{place}: {self.text}"

    @property
    def text(self) -> str:
        """The field and what is wrong with it, without the place."""
        field = dotted(self.mistake.path)
        return redacted(f"{field}: " if field else "") + self.mistake.message


class SettingsError(Exception):
    """The configuration is refused. Its text lists every mistake, one a line, in the order of the file."""

    def __init__(self, mistakes: Iterable[PlacedMistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda each: (each.place is not None, each.place or Place(0, 0))))
        super().__init__("\n".join(str(each) for each in self.mistakes))


def dotted(path: Path) -> str:
    """`models[0].price.version`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if part.isprintable() else repr(part))
    return text
