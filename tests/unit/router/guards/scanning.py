"""Texts through the scanner, and beside it the plainest thing that says the same of a whole text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import regex

from services.router.domain.guards.policy import Action, Direction, GuardPolicy, Pattern, Pii
from services.router.domain.guards.rule import Rule
from services.router.domain.guards.rules import rules_of
from services.router.domain.guards.scan import Scan, Span
from services.router.domain.guards.scanner import Scanner

EVERYTHING = GuardPolicy(
    output=dict.fromkeys(Pii, Action.REDACT),
    patterns=(
        Pattern("falcon", r"\b(?i:project[ -]falcon)\b", output=Action.REDACT),
        Pattern("order", r"ORD-(?:[0-9]{3}-){1,2}[0-9]{3}", output=Action.REDACT),
        Pattern("ab", "a{2,5}b{1,3}", output=Action.REDACT),
    ),
)
RULES = rules_of(EVERYTHING, Direction.OUTPUT)
SCANNER = Scanner(RULES)

# Where a text begins, what it says, and the rule; what belongs together is one.
Found = tuple[int, str, str]


def pieces(spans: Iterable[Span]) -> str:
    """The text with what was found in brackets: what a reader would see."""
    return "".join(_shown(each) for each in spans)


def streamed(parts: Iterable[str], scanner: Scanner = SCANNER) -> str:
    scan = Scan(scanner)
    spans = [span for part in parts for span in scan.feed(part)]
    return pieces([*spans, *scan.feed("", last=True)])


def at_once(text: str, scanner: Scanner = SCANNER) -> str:
    return pieces(Scan(scanner).feed(text, last=True))


def by_hand(text: str, rules: Sequence[Rule] = RULES) -> str:
    """Character by character: the first rule that matches here, else the next character."""
    return "".join(_by_hand(text, rules))


def _by_hand(text: str, rules: Sequence[Rule]) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = next(filter(None, (_found(text, at, each) for each in rules)), None)
        if found is None:
            yield text[at]
            at += 1
        else:
            shown, at = found
            yield shown


def _found(text: str, at: int, rule: Rule) -> tuple[str, int] | None:
    shape = rule.shape
    match = regex.compile(f"{shape.before}(?:{shape.body}){shape.after}").match(text, at)
    length = shape.check(match.group()) if match else 0
    if not length:
        return None
    end = at + length
    if shape.unit:
        tail = regex.compile(f"(?:{shape.unit})*+" + (f"(?:{shape.close})?+" if shape.close else "")).match(text, end)
        end = tail.end() if tail else end
    return f"[{rule.name}:{length}]", end


def _shown(span: Span) -> str:
    if span.rule is None:
        return span.text
    return "" if span.continued else f"[{span.rule.name}:{len(span.text)}]"
