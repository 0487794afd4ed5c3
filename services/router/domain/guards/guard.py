"""An organisation's policy at work on a question: refused, or rewritten; and the guard that its answer will have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from libs.clock import Clock
from libs.errors import FieldViolation, Reason, TokenwayError, invalid_request
from services.router.domain.ask import Ask, CacheTier
from services.router.domain.guards.answer_guard import AnswerGuard, OutputGuard, Unguarded
from services.router.domain.guards.placeholders import RESTORE, Placeholders
from services.router.domain.guards.policy import TIME_LIMIT, Action, Direction, GuardPolicy, GuardWatcher, Verdict
from services.router.domain.guards.question_text import QuestionText, redacted, texts_of
from services.router.domain.guards.rules import rules_of
from services.router.domain.guards.scanner import Scanner

Result = TypeVar("Result")
# A question that is longer is looked through beside the event loop: 1,024 characters take about 0.2 ms, and 18 ms where
# they are made to.
_AT_ONCE_CHARACTERS = 4_096


@dataclass(frozen=True, slots=True)
class Guarded:
    """A question that may go to a model, and the guard of its answer."""

    ask: Ask
    answer: OutputGuard


class Guard:
    """The rules of one organisation, compiled; all its requests share them."""

    def __init__(self, policy: GuardPolicy, *, watcher: GuardWatcher, clock: Clock) -> None:
        self._watcher, self._clock = watcher, clock
        question, answer = rules_of(policy, Direction.INPUT), rules_of(policy, Direction.OUTPUT)
        self._of_question = Scanner(question) if question else None
        self._of_answer = Scanner(answer) if answer else None
        self._restoring = Scanner([RESTORE, *answer]) if policy.restore else None

    async def question(self, ask: Ask) -> Guarded:
        """CONTENT_REFUSED names the rules and the fields, before anything is spent."""
        if ask.question.sampling.top_logprobs and (self._of_answer or self._restoring):
            raise _logprobs_refused(ask.question.sampling.top_logprobs)
        placeholders = Placeholders()
        if self._of_question is not None:
            ask = await self._checked(ask, self._of_question, placeholders)
        return Guarded(ask, self._answer_guard(placeholders))

    async def _checked(self, ask: Ask, scanner: Scanner, placeholders: Placeholders) -> Ask:
        with self._watcher.guarding(Direction.INPUT) as judged:
            texts = texts_of(ask.question)
            try:
                await _for(texts, lambda: _scan(texts, scanner))
            except TimeoutError:
                judged(Verdict(TIME_LIMIT, Action.BLOCK))
                raise _too_slow() from None
            found = {(each.field, rule.name): each.action(rule) for each in texts for rule in each.found}
            for (_, rule), action in found.items():
                judged(Verdict(rule, action))
            refused = [place for place, action in found.items() if action is Action.BLOCK]
            if refused:
                raise _refused(refused)
            if not found:
                return ask
            question = await _for(texts, lambda: redacted(ask.question, texts, placeholders))
            # Two people's data may be redacted to much the same words.
            return replace(ask, question=question, cache_tier=CacheTier.EXACT)

    def _answer_guard(self, placeholders: Placeholders) -> OutputGuard:
        scanner = self._restoring if self._restoring and placeholders else self._of_answer
        if scanner is None:
            return Unguarded()
        return AnswerGuard(scanner=scanner, placeholders=placeholders, watcher=self._watcher, clock=self._clock)


def _scan(texts: list[QuestionText], scanner: Scanner) -> None:
    for each in texts:
        each.scan(scanner)


async def _for(texts: list[QuestionText], work: Callable[[], Result]) -> Result:
    """Does the work over these texts, at once where they are short."""
    if sum(len(each.written) for each in texts) > _AT_ONCE_CHARACTERS:
        return await asyncio.to_thread(work)
    return work()


def _refused(found: list[tuple[str, str]]) -> TokenwayError:
    """Every field with its rule; never what was found."""
    fields = tuple(FieldViolation(f"request.{field}", f"holds what the rule {rule} refuses") for field, rule in found)
    listed = "; ".join(f"{each.field} {each.description}" for each in fields)
    return TokenwayError(
        Reason.CONTENT_REFUSED, f"{listed}; remove it and ask again", {"rule": found[0][1]}, fields=fields
    )


def _too_slow() -> TokenwayError:
    message = "a pattern of this organisation took too long over the question, so it is refused; ask who configured it"
    return TokenwayError(Reason.CONTENT_REFUSED, message, {"rule": TIME_LIMIT})


def _logprobs_refused(asked: int) -> TokenwayError:
    """They would tell, beside the text, the very tokens that a guard takes out of it."""
    description = f"is {asked}: answers to this organisation may be rewritten, which cannot be done to these; give 0"
    return invalid_request(FieldViolation("request.sampling.top_logprobs", description))
