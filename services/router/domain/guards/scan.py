"""One text on its way through a scanner, piece by piece. What comes out does not depend on how the text is cut."""

from __future__ import annotations

from dataclasses import dataclass

from services.router.domain.guards.rule import LOOK_BACK_CHARACTERS, Rule
from services.router.domain.guards.scanner import Scanner


@dataclass(frozen=True, slots=True)
class Span:
    """Text that follows the last span: free (no rule), found, or more of what was found just before."""

    text: str
    rule: Rule | None = None
    continued: bool = False


class Scan:
    """Says what is decided, as soon as it is."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        # What is held, after what a rule may have to look back at.
        self._text = ""
        self._at = 0
        # A rule that has found something, which may go on.
        self._inside: Rule | None = None

    @property
    def held_characters(self) -> int:
        """How much of the text is not decided yet."""
        return len(self._text) - self._at

    def feed(self, text: str, *, last: bool = False) -> list[Span]:
        """What is decided by now, in order; everything if this is the last of the text. TimeoutError: see Scanner."""
        self._text += text
        spans = self._continued(last=last) if self._inside else []
        if self._inside is None:
            spans += self._found(last=last)
        kept = max(0, self._at - LOOK_BACK_CHARACTERS)
        self._text, self._at = self._text[kept:], self._at - kept
        return [each for each in spans if each.text]

    def _found(self, *, last: bool) -> list[Span]:
        scanner, spans = self._scanner, list[Span]()
        until = self._until(last=last)
        matches = scanner.matches(self._text, self._at) if until > self._at else None
        while matches and (found := matches.first(self._at)) and found.start < until:
            spans += [Span(self._taken(found.start)), Span(self._taken(found.end), found.rule)]
            if scanner.tail(found.rule):
                self._inside = found.rule
                spans += self._continued(last=last)
                if self._inside:
                    return spans
            until = self._until(last=last)
        spans.append(Span(self._taken(until)))
        return spans

    def _continued(self, *, last: bool) -> list[Span]:
        rule = self._inside
        tail = self._scanner.tail(rule) if rule else None
        if tail is None:
            return []
        end, ended = tail.end(self._text, self._at, last=last)
        self._inside = None if ended else rule
        return [Span(self._taken(end), rule, continued=True)]

    def _until(self, *, last: bool) -> int:
        return len(self._text) if last else self._scanner.undecided(self._text, self._at)

    def _taken(self, end: int) -> str:
        taken = self._text[self._at : end]
        self._at = end
        return taken
