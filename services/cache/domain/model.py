"""A question, and an answer that may be given again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from libs.generation.question import Question as Input
from libs.money import Usage


class Scope(StrEnum):
    """Who may share an answer within an organisation."""

    ORGANISATION = "organisation"
    TEAM = "team"
    USER = "user"
    KEY = "key"


class Tier(IntEnum):
    """How like a stored question this one must be for its answer: the numbers of the router's CacheControl.Tier."""

    # The same question.
    EXACT = 1
    # Cosine 0.95 and the lexical guard.
    STRICT = 2
    # Cosine 0.90 and the lexical guard.
    BALANCED = 3
    # No contradiction, and a share of the votes nearby that keeps wrong hits below the organisation's bound.
    CALIBRATED = 4


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. Team and user may be empty; the organisation never is."""

    organisation: str
    key_id: str
    user: str = ""
    team: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that can change an answer, and whether it may be reused."""

    principal: Principal
    scope: Scope
    model: str
    model_revision: str
    # On top of the model; empty: none.
    adapter: str
    # With every default resolved.
    input: Input
    # Of the policies and documents behind the answer.
    policy_version: str
    # May an answer that was drawn at a temperature above 0 be given again? The organisation's own choice.
    reuse_sampled: bool = False
    # False when the message held fields that this version cannot read: they may change the answer.
    understood: bool = True


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token and the natural logarithm of its probability."""

    token: str
    logprob: float


@dataclass(frozen=True, slots=True)
class TopLogprobs:
    """The likeliest tokens at one position, likeliest first."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """Some of an answer, as it is streamed.

    token_counts[i] tokens stand behind text[i], which is empty where they made reasoning; logprobs has one entry a
    token, or none at all.
    """

    text: tuple[str, ...] = ()
    token_counts: tuple[int, ...] = ()
    logprobs: tuple[TopLogprobs, ...] = ()
    reasoning: tuple[str, ...] = ()
    calls_tools: bool = False


class FinishReason(StrEnum):
    """Why an answer ended. Only one that the model ended by itself is an answer to the question and to nothing else."""

    STOP = "stop"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The end of an answer."""

    finish_reason: FinishReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A whole answer: all its parts joined, not the chunks that it came in. Times are seconds since 1970."""

    whole: AnswerPart
    usage: Usage
    model: str
    model_revision: str
    tags: tuple[str, ...]
    created_at: float
    expires_at: float
    # Who made it: the request, and its span as a W3C traceparent; either may be empty.
    source_request_id: str
    source_traceparent: str = ""
    # What was asked last, and the semantic partition: by these others may find it. Empty: by its own question alone.
    asked: str = ""
    partition: bytes = b""
