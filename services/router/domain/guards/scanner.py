"""Rules, compiled: where in a text a match is, and where one may have begun that needs more text to be decided.

`regex` tells the latter by matching each body, followed by what no text holds, partially: that succeeds exactly where
the text ends within a body or right behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from time import thread_time

import regex

from services.router.domain.guards.rule import MAX_HELD_CHARACTERS, Rule, Shape

# A pattern that takes longer has met what makes it explode: ten times what the slowest of ours takes on a busy machine.
_LEAST_TIME_LIMIT_SECONDS = 0.1
_TIME_LIMIT_SECONDS_PER_CHARACTER = 5e-6
# What all checks may take together, twice what a list of nothing but IBANs takes: 5 µs a character. Numbers that are
# almost some, one beside the other, take 18 µs.
_CHECK_SECONDS_PER_CHARACTER = 1e-5
# No text holds a lone surrogate: protobuf's strings are UTF-8.
_NEVER = "\ud800"
# What the bodies that have `needs` are made of, up to their first space or to what they need.
_WORD = regex.compile(rf"(?r)[\w.%+'@:(<-]{{0,{MAX_HELD_CHARACTERS}}}")


@dataclass(frozen=True, slots=True)
class Found:
    """Content of a rule, by its place in the text."""

    start: int
    end: int
    rule: Rule


class Scanner:
    """The leftmost match counts; where several begin, the first rule's. TimeoutError from what explodes over a text."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._patterns = [(rule, _compiled([rule.shape])) for rule in rules]
        shapes = [each.shape for each in rules]
        needed = [each.needs for each in shapes]
        self._needs = regex.compile("|".join(dict.fromkeys(needed)) if all(needed) else "")
        self._tails = {rule: Tail(rule.shape) for rule in rules if rule.shape.unit}
        self._in_word = _beginning(each for each in shapes if each.needs)
        spaced = sorted((each for each in shapes if each.spaced or not each.needs), key=attrgetter("needs"))
        self._spaced = [
            (regex.compile(needs), _beginning(group)) for needs, group in groupby(spaced, key=attrgetter("needs"))
        ]

    def matches(self, text: str, at: int) -> Matches | None:
        """What is to be found in the text from `at` on; None: nothing is."""
        return Matches(text, self._patterns) if self._needs.search(text, at) else None

    def undecided(self, text: str, at: int) -> int:
        """The first place from `at` on where a match may have begun that needs more text; the text's end if none."""
        # No body is longer, so what began before is decided.
        at = max(at, len(text) - MAX_HELD_CHARACTERS)
        word = _WORD.match(text, at)
        begins = word.start() if word else len(text)
        until = _partial(self._in_word, text, begins) if begins < len(text) else begins
        for needs, beginning in self._spaced:
            if needs.search(text, at):
                until = min(until, _partial(beginning, text, at))
        return until

    def tail(self, rule: Rule) -> Tail | None:
        """What may follow a match of the rule; None where nothing does."""
        return self._tails.get(rule)


class Matches:
    """The matches in one text. Each pattern goes through it once, however many matches there are."""

    def __init__(self, text: str, patterns: Sequence[tuple[Rule, regex.Pattern[str]]]) -> None:
        self._text = text
        # Of this thread's own time: threads beside it must not use it up.
        self._until = thread_time() + _LEAST_TIME_LIMIT_SECONDS + _CHECK_SECONDS_PER_CHARACTER * len(text)
        self._ahead: list[tuple[Rule, regex.Pattern[str], int, int]] = [(*each, -1, -1) for each in patterns]

    def first(self, at: int) -> Found | None:
        """The first from `at` on; `at` never steps back."""
        self._ahead = [each if each[2] >= at else self._next(*each[:2], at) for each in self._ahead]
        self._ahead = [each for each in self._ahead if each[2] < len(self._text)]
        if not self._ahead:
            return None
        rule, _, start, end = min(self._ahead, key=lambda each: each[2])
        return Found(start, end, rule)

    def _next(self, rule: Rule, pattern: regex.Pattern[str], at: int) -> tuple[Rule, regex.Pattern[str], int, int]:
        text = self._text
        while match := pattern.search(text, at, timeout=_time_limit_seconds(text)):
            if length := rule.shape.check(match.group()):
                return rule, pattern, match.start(), match.start() + length
            if thread_time() > self._until:
                raise TimeoutError(rule.name)
            at = match.start() + 1
        return rule, pattern, len(text), len(text)


class Tail:
    """What may follow the body of a shape and belongs to it."""

    def __init__(self, shape: Shape) -> None:
        self._units = regex.compile(f"(?:{shape.unit})*+")
        self._close = regex.compile(shape.close or _NEVER)
        self._open = regex.compile(f"(?:{shape.unit}|{shape.close or _NEVER}){_NEVER}")

    def end(self, text: str, at: int, *, last: bool) -> tuple[int, bool]:
        """How far it goes, and whether it ends there. If not, what is left needs more text to be decided."""
        match = self._units.match(text, at)
        at = match.end() if match else at
        if close := self._close.match(text, at):
            return close.end(), True
        undecided = not last and self._open.match(text, at, partial=True) is not None
        return at, not undecided


def _time_limit_seconds(text: str) -> float:
    return _LEAST_TIME_LIMIT_SECONDS + _TIME_LIMIT_SECONDS_PER_CHARACTER * len(text)


def _compiled(shapes: Iterable[Shape]) -> regex.Pattern[str]:
    return regex.compile("|".join(f"{each.before}(?:{each.body}){each.after}" for each in shapes))


def _beginning(shapes: Iterable[Shape]) -> regex.Pattern[str]:
    """Matches partially where a body has begun, and never wholly. What looks behind is looked at once for all."""
    by_before = groupby(sorted(shapes, key=attrgetter("before")), key=attrgetter("before"))
    groups = [f"{before}(?:{'|'.join(each.body for each in group)})" for before, group in by_before]
    return regex.compile(f"(?:{'|'.join(groups)}){_NEVER}" if groups else _NEVER)


def _partial(beginning: regex.Pattern[str], text: str, at: int) -> int:
    match = beginning.search(text, at, partial=True, timeout=_time_limit_seconds(text))
    return match.start() if match else len(text)
