"""What the detectors are measured by: labelled.tsv, written before the patterns, half of it not looked at since.

A line is a kind, a tab and a text. What is to be found stands in ⟦⟧; a text of `-card` holds none, and something that
looks like a card. Every value is made up. A dot in keys (·) keeps other people's scanners from taking them for real.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_suffix(".tsv")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text, the kind that it is about, and where that is in it: (start, end)."""

    kind: str
    text: str
    places: frozenset[tuple[int, int]]
    held_out: bool

    @property
    def is_look_alike(self) -> bool:
        return not self.places


def labelled() -> list[Labelled]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return [_labelled(line, held_out=bool(number % 2)) for number, line in enumerate(lines)]


def _labelled(line: str, *, held_out: bool) -> Labelled:
    kind, _, marked = line.partition("\t")
    if kind.endswith("api_key"):
        marked = marked.replace("·", "").replace(r"\n", "\n")
    text, places = "", set()
    for index, part in enumerate(re.split("[⟦⟧]", marked)):
        if index % 2:
            places.add((len(text), len(text) + len(part)))
        text += part
    return Labelled(kind.removeprefix("-"), text, frozenset(places), held_out)
