"""What stands for redacted content: <EMAIL_1>, the same for the same content throughout a request."""

from __future__ import annotations

from collections.abc import Mapping

import regex

from services.router.domain.guards.policy import Action
from services.router.domain.guards.rule import Rule, Shape

_PLACEHOLDER = regex.compile("<[A-Z][A-Z0-9_]{0,47}_[0-9]{1,6}>")
# Found like content, and rewritten to what it stands for.
RESTORE = Rule("restore", "", Action.OFF, Shape(body=_PLACEHOLDER.pattern, needs="<"))


class Placeholders:
    """Those of one request."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._by_content: dict[tuple[str, str], str] = {}
        self._contents: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._contents)

    def avoid(self, text: str) -> None:
        """What looks like a placeholder here is the caller's own: it must stay what it is."""
        self._taken.update(_PLACEHOLDER.findall(text))

    def of(self, rule: Rule, content: str) -> str:
        """What stands for the content."""
        key = rule.label, content
        if key not in self._by_content:
            placeholder = self._next(rule.label)
            self._by_content[key] = placeholder
            self._contents[placeholder] = content
        return self._by_content[key]

    def contents(self) -> Mapping[str, str]:
        """What each of those that were given out by now stands for."""
        return dict(self._contents)

    def _next(self, label: str) -> str:
        while True:
            number = self._numbers[label] = self._numbers.get(label, 0) + 1
            placeholder = f"<{label}_{number}>"
            if placeholder not in self._taken:
                return placeholder
