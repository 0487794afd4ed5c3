"""One text of a question: read, looked through, and written again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from libs.generation.question import Question
from services.router.domain.guards.forms import Form, Json, Plain, is_json
from services.router.domain.guards.placeholders import Placeholders
from services.router.domain.guards.policy import Action
from services.router.domain.guards.rule import Rule
from services.router.domain.guards.scan import Scan, Span
from services.router.domain.guards.scanner import Scanner
from services.router.domain.guards.texts import TextKind, rewritten


class QuestionText:
    """What a field says, and what was found in it. All but making it takes time that grows with the text."""

    def __init__(self, field: str, kind: TextKind, text: str) -> None:
        self.field, self.written = field, text
        self._kind = kind
        self._form: Form = Plain()
        self.said = ""
        self._spans: tuple[Span, ...] = ()

    def scan(self, scanner: Scanner) -> None:
        """Reads it and looks it through. TimeoutError: see Scanner."""
        if self._kind is TextKind.JSON or (self._kind is TextKind.ANY and is_json(self.written)):
            self._form = Json()
        self.said = self._form.read(self.written, last=True)
        self._spans = tuple(_joined(Scan(scanner).feed(self.said, last=True)))

    @property
    def found(self) -> tuple[Rule, ...]:
        """The rule of each content that was found, in order."""
        return tuple(each.rule for each in self._spans if each.rule)

    def action(self, rule: Rule) -> Action:
        """What a finding of the rule leads to here."""
        return Action.BLOCK if self._kind is TextKind.NAME else rule.action

    def redacted(self, placeholders: Placeholders) -> str:
        """The text as the engine gets it."""
        return "".join(
            self._form.replaced(each.text, placeholders.of(each.rule, each.text))
            if each.rule
            else self._form.written(each.text)
            for each in self._spans
        )


def texts_of(question: Question) -> list[QuestionText]:
    """In the order in which `redacted` writes them."""
    texts: list[QuestionText] = []

    def read(field: str, kind: TextKind, text: str) -> str:
        texts.append(QuestionText(field, kind, text))
        return text

    rewritten(question, read)
    return texts


def redacted(question: Question, texts: list[QuestionText], placeholders: Placeholders) -> Question:
    """The question as the engine gets it."""
    for each in texts:
        placeholders.avoid(each.said)
    following = iter(texts)
    return rewritten(question, lambda *_: next(following).redacted(placeholders))


def _joined(spans: list[Span]) -> Iterator[Span]:
    """What was found, each with all that belongs to it."""
    whole: Span | None = None
    for each in spans:
        if whole is not None and each.continued:
            whole = replace(whole, text=whole.text + each.text)
            continue
        if whole is not None:
            yield whole
        whole = each
    if whole is not None:
        yield whole
