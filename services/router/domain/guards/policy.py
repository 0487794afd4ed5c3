"""An organisation's policy: which content is looked for, where, and what is done about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

# The rule of a verdict where a pattern exploded: it fails closed.
TIME_LIMIT = "time_limit"


class Action(StrEnum):
    """What is done where a rule finds something."""

    OFF = "off"
    REDACT = "redact"
    BLOCK = "block"


class Direction(StrEnum):
    """To a model, or from it."""

    INPUT = "input"
    OUTPUT = "output"


class Pii(StrEnum):
    """Kinds of content that have a rule of their own, `pii.card` for example; `detectors` says what each finds."""

    API_KEY = "api_key"
    IBAN = "iban"
    CARD = "card"
    SSN = "ssn"
    IP = "ip"
    EMAIL = "email"
    PHONE = "phone"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression of the organisation's own; `libs.settings.patterns` says what it may be."""

    name: str
    regex: str
    input: Action = Action.BLOCK
    output: Action = Action.BLOCK


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """A kind that is not named is off. With `restore` an answer gets back what was redacted in its question."""

    input: Mapping[Pii, Action] = field(default_factory=dict)
    output: Mapping[Pii, Action] = field(default_factory=dict)
    patterns: tuple[Pattern, ...] = ()
    restore: bool = False

    def actions(self, direction: Direction) -> Mapping[Pii, Action]:
        return self.input if direction is Direction.INPUT else self.output


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule that found something, `pii.card` or `pattern.falcon`, and what was done. Never what it found."""

    rule: str
    action: Action


class GuardWatcher(Protocol):
    """Sees what the guards do: traces and metrics. Never fails."""

    def guarding(self, direction: Direction) -> AbstractContextManager[Callable[[Verdict], None]]:
        """Surrounds the guarding of a question or of an answer, and is told each verdict."""
        ...

    def held(self, *, seconds: float, characters: int) -> None:
        """How long, at most, some of an answer's text was held back, and how much of it at once; once an answer."""
        ...
