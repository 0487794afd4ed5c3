"""What a scanner finds in a text, whole: (kind, start, end)."""

from __future__ import annotations

from services.router.domain.guards.scan import Scan
from services.router.domain.guards.scanner import Scanner

Finding = tuple[str, int, int]


def findings(scanner: Scanner, text: str) -> list[Finding]:
    found: list[Finding] = []
    at = 0
    for span in Scan(scanner).feed(text, last=True):
        start, at = at, at + len(span.text)
        if span.rule and span.continued:
            found[-1] = (*found[-1][:2], at)
        elif span.rule:
            found.append((span.rule.name.removeprefix("pii."), start, at))
    return found
