"""The rules of a policy, in the order in which they take precedence where several find something at one place."""

from __future__ import annotations

from collections.abc import Iterator

import regex

from services.router.domain.guards.detectors import DETECTORS
from services.router.domain.guards.policy import Action, Direction, GuardPolicy, Pattern
from services.router.domain.guards.rule import Rule, Shape

_BOUNDARY = r"\b"


def rules_of(policy: GuardPolicy, direction: Direction) -> list[Rule]:
    """What blocks comes first; then the organisation's own patterns, then the kinds in the order of DETECTORS."""
    rules = [*_of_patterns(policy, direction), *_of_kinds(policy, direction)]
    return sorted(rules, key=lambda each: each.action is not Action.BLOCK)


def _of_patterns(policy: GuardPolicy, direction: Direction) -> Iterator[Rule]:
    for each in policy.patterns:
        action = each.input if direction is Direction.INPUT else each.output
        if action is not Action.OFF:
            yield Rule(f"pattern.{each.name}", _label(each.name), action, _shape(each))


def _of_kinds(policy: GuardPolicy, direction: Direction) -> Iterator[Rule]:
    actions = policy.actions(direction)
    for kind, shapes in DETECTORS.items():
        action = actions.get(kind, Action.OFF)
        if action is not Action.OFF:
            yield from (Rule(f"pii.{kind}", kind.upper(), action, shape) for shape in shapes)


def _label(name: str) -> str:
    """What a placeholder can be named by: see `placeholders`."""
    return "PATTERN_" + regex.sub("[^A-Z0-9]+", "_", name.upper())[:40].strip("_")


def _shape(pattern: Pattern) -> Shape:
    """Word boundaries at its ends look beside the body, where a shape has a place for that."""
    body = pattern.regex
    before = _BOUNDARY if body.startswith(_BOUNDARY) else ""
    body = body.removeprefix(before)
    after = _BOUNDARY if regex.search(r"(?<!\\)(?:\\\\)*\\b\Z", body) else ""
    return Shape(body=body.removesuffix(after), before=before, after=after)
