"""A rule: what content looks like, written so that the beginning of a match can be told from what can be none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.router.domain.guards.policy import Action

# How much of a text may be held back until it is known to be harmless: no body is longer.
MAX_HELD_CHARACTERS = 64
LOOK_BACK_CHARACTERS = 2


def whole(text: str) -> int:
    """The check of a shape whose pattern says everything."""
    return len(text)


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of a content.

    `before` looks at two characters beside the body at most, `after` at one. The body has no look-around, and matches
    at most 64 characters. `check` gets what it matched and says how many of its characters count, 0 for none.

    After a body that is certain come any number of `unit`s, and perhaps one `close` that ends them: they belong to the
    match, however long it gets. Neither has look-arounds.

    For speed: every match holds what `needs` matches, and where the body is `spaced` (spaces may be within it), so does
    every beginning of one that reaches past a space. Without `needs` the shape is looked for everywhere.
    """

    body: str
    before: str = ""
    after: str = ""
    check: Callable[[str], int] = whole
    unit: str = ""
    close: str = ""
    needs: str = ""
    spaced: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A named shape and what to do about it. `label` stands in its placeholders: EMAIL in <EMAIL_1>."""

    name: str
    label: str
    action: Action
    shape: Shape
