"""Under which key an answer is stored, so that it is found by the same question and by no other."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from libs.generation.question import Conversation, Message, Part, Role, Text
from libs.generation.question import Question as Input
from services.cache.domain.canonical import canonical
from services.cache.domain.model import Question, Scope

# A change of what goes into a key, or how, needs a new version: old answers are then never found, and expire.
_EXACT_VERSION = "tokenway cache, exact key, 1"
_PARTITION_VERSION = "tokenway cache, semantic partition, 1"
# All else goes in, also what is added to Question later. The principal goes in as far as the scope says.
_CHANGES_NO_ANSWER = frozenset({"principal", "reuse_sampled", "understood"})
_IN_KEY = tuple(field.name for field in fields(Question) if field.name not in _CHANGES_NO_ANSWER)


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """Whose answer, and the SHA-256 over all that could change it."""

    organisation: str
    digest: bytes


def exact_key(question: Question) -> AnswerKey:
    """Where the answer to exactly this question is.

    Only Unicode's form (NFC) and line ends are made the same, and only in what is said to the model. Case and spaces
    stay: they decide what code and YAML mean. What the answer is held against (stop sequences, schemas, grammars) is
    taken byte by byte.
    """
    return AnswerKey(question.principal.organisation, _digest(_EXACT_VERSION, question, _normalised(question.input)))


def semantic_partition(question: Question) -> AnswerKey:
    """The exact key without the last thing that the user said: within a partition nothing else may differ."""
    asked = _without_last_user_text(_normalised(question.input))
    return AnswerKey(question.principal.organisation, _digest(_PARTITION_VERSION, question, asked))


def last_user_text(question: Question) -> str:
    """What the user said last, as the keys have it: all in which two questions of a partition may differ."""
    prompt = question.input.prompt
    if isinstance(prompt, str):
        return _same_text(prompt)
    last = next((each for each in reversed(prompt.messages) if each.role is Role.USER), None)
    return "\n".join(_same_text(part.text) for part in last.parts if isinstance(part, Text)) if last else ""


def scope_subject(question: Question) -> str:
    """Who of the organisation shares the answer; empty for all of it, and where the principal lacks what is asked."""
    principal = question.principal
    return {
        Scope.ORGANISATION: "",
        Scope.TEAM: principal.team,
        Scope.USER: principal.user,
        Scope.KEY: principal.key_id,
    }[question.scope]


def _digest(version: str, question: Question, asked: Input) -> bytes:
    named = tuple((name, asked if name == "input" else getattr(question, name)) for name in _IN_KEY)
    shared_by = (question.principal.organisation, scope_subject(question))
    return hashlib.sha256(canonical((version, shared_by, named))).digest()


def _normalised(asked: Input) -> Input:
    if all(_same_text(each) is each for each in _texts(asked.prompt)):
        return asked  # nearly always: and a copy of a long conversation costs as much as its key
    if isinstance(asked.prompt, str):
        return replace(asked, prompt=_same_text(asked.prompt))
    messages = tuple(
        replace(message, parts=tuple(_normalised_part(part) for part in message.parts))
        for message in asked.prompt.messages
    )
    return replace(asked, prompt=Conversation(messages))


def _texts(prompt: str | Conversation) -> Iterator[str]:
    if isinstance(prompt, str):
        yield prompt
    else:
        yield from (part.text for each in prompt.messages for part in each.parts if isinstance(part, Text))


def _normalised_part(part: Part) -> Part:
    return Text(_same_text(part.text)) if isinstance(part, Text) else part


def _same_text(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n"))


def _without_last_user_text(asked: Input) -> Input:
    if isinstance(asked.prompt, str):
        return replace(asked, prompt="")
    messages = list(asked.prompt.messages)
    for index in reversed(range(len(messages))):
        if messages[index].role is Role.USER:
            messages[index] = _without_text(messages[index])
            break
    return replace(asked, prompt=Conversation(tuple(messages)))


def _without_text(message: Message) -> Message:
    return replace(message, parts=tuple(part for part in message.parts if not isinstance(part, Text)))
