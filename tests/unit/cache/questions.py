"""Questions and answers for tests of the cache, short to write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from libs.generation.question import Conversation, Message, Part, Role, Sampling, Text
from libs.generation.question import Question as Input
from libs.money import Usage, UsageSource
from services.cache.domain.draft import FillEvent, FillOrder
from services.cache.domain.model import (
    AnswerEnd,
    AnswerPart,
    FinishReason,
    Principal,
    Question,
    Scope,
)

USAGE = Usage(input_tokens=5, cached_input_tokens=1, output_tokens=3, source=UsageSource.ENGINE)
STOP = AnswerEnd(FinishReason.STOP, USAGE)
CUT = AnswerEnd(FinishReason.OTHER, USAGE)


def asked(prompt: str | tuple[Part, ...] = "Hello", *, temperature: float = 0, **fields: Any) -> Input:
    """What the user says, alone in its conversation."""
    parts = (Text(prompt),) if isinstance(prompt, str) else prompt
    conversation = Conversation((Message(Role.USER, parts),))
    return Input(prompt=conversation, sampling=Sampling(temperature=temperature), **fields)


def question(
    input: Input | None = None,  # noqa: A002 # as the domain calls it
    *,
    organisation: str = "acme",
    key_id: str = "ci",
    user: str = "",
    team: str = "",
    **fields: Any,
) -> Question:
    """One that may be cached."""
    given: dict[str, Any] = {
        "scope": Scope.ORGANISATION,
        "model": "small",
        "model_revision": "1",
        "adapter": "",
        "policy_version": "",
        **fields,
    }
    principal = Principal(organisation=organisation, key_id=key_id, user=user, team=team)
    return Question(principal=principal, input=input or asked(), **given)


def order(asks: Question | None = None, *, ttl_seconds: float = 60, tags: tuple[str, ...] = ()) -> FillOrder:
    """To store an answer for a minute."""
    return FillOrder(question=asks or question(), request_id="req-1", ttl_seconds=ttl_seconds, tags=tags)


def part(*text: str) -> AnswerPart:
    """Pieces of a token each."""
    return AnswerPart(text=text, token_counts=(1,) * len(text))


async def streamed(*events: FillEvent) -> AsyncIterator[FillEvent]:
    """The events of a Fill."""
    for event in events:
        yield event
