"""A policy, requests, and a watcher that remembers what it was told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from libs.generation.question import Conversation, Message, Question, Role, Text
from libs.testing.clock import ManualClock
from services.router.domain.ask import Ask
from services.router.domain.guards.guard import Guard, Guarded
from services.router.domain.guards.policy import Action, Direction, GuardPolicy, Pii, Verdict
from tests.unit.router.asks import ask

REDACT, BLOCK = Action.REDACT, Action.BLOCK
POLICY = GuardPolicy(
    input={Pii.EMAIL: REDACT, Pii.PHONE: REDACT, Pii.CARD: BLOCK},
    output={Pii.EMAIL: REDACT, Pii.IBAN: BLOCK, Pii.API_KEY: REDACT, Pii.CARD: REDACT},
    restore=True,
)
IBAN = "DE89370400440532013000"


@dataclass
class Watcher:
    """Every verdict, in order, with its direction; and what was held."""

    verdicts: list[tuple[Direction, str, Action]] = field(default_factory=list)
    holds: list[tuple[float, int]] = field(default_factory=list)
    closed: list[Direction] = field(default_factory=list)

    @contextmanager
    def guarding(self, direction: Direction) -> Iterator[Callable[[Verdict], None]]:
        try:
            yield lambda verdict: self.verdicts.append((direction, verdict.rule, verdict.action))
        finally:
            self.closed.append(direction)

    def held(self, *, seconds: float, characters: int) -> None:
        self.holds.append((seconds, characters))


def guard(policy: GuardPolicy = POLICY, *, watcher: Watcher | None = None, clock: ManualClock | None = None) -> Guard:
    return Guard(policy, watcher=watcher or Watcher(), clock=clock or ManualClock())


def asked(*texts: str, **question: Any) -> Ask:
    """One message a text."""
    messages = tuple(Message(Role.USER, (Text(each),)) for each in texts)
    return replace(ask(), question=replace(ask().question, prompt=Conversation(messages), **question))


def texts(question: Question) -> list[str]:
    assert isinstance(question.prompt, Conversation)
    parts = (part for message in question.prompt.messages for part in message.parts)
    return [part.text for part in parts if isinstance(part, Text)]


async def guarded(*said: str, policy: GuardPolicy = POLICY) -> Guarded:
    return await guard(policy).question(asked(*said))
