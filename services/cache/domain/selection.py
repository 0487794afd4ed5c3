"""Which answers of an organisation are meant, where some of them are to go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Everything:
    """All answers of an organisation."""


@dataclass(frozen=True, slots=True)
class OfModel:
    """Those that a model gave, or one revision of it."""

    model: str
    # Empty: all of them.
    revision: str = ""


@dataclass(frozen=True, slots=True)
class WithTag:
    """Those that were stored with this tag."""

    tag: str


Selection = Everything | OfModel | WithTag


def selections_of(model: str, revision: str, tags: Iterable[str]) -> frozenset[Selection]:
    """All that an answer belongs to. A model may have no name for its revision: then it is one selection, not two."""
    return frozenset({Everything(), OfModel(model), OfModel(model, revision), *map(WithTag, tags)})
