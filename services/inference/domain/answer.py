"""An answer, event by event."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from libs.money import Usage


@dataclass(frozen=True, slots=True)
class Started:
    """First, once, together with the first token.

    Of a remote provider the input tokens are an estimate: it counts at the end. The two durations are the engine's:
    waiting for its turn, then reading the prompt; None where it does not tell.
    """

    input_tokens: int
    cached_input_tokens: int = 0
    queue_seconds: float | None = None
    prefill_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's text and the natural logarithm of its probability."""

    token: str
    logprob: float


@dataclass(frozen=True, slots=True)
class TopLogprobs:
    """The chosen token and the likeliest ones, likeliest first."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of the call at `index`; id and name come with its first piece only."""

    index: int
    id: str = ""
    name: str = ""
    arguments_json: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """More of the answer: `token_counts[i]` tokens stand behind `text[i]`, which may be empty.

    Text is held back, and its tokens are not, while it could still become a stop sequence or half a character.
    """

    text: tuple[str, ...]
    token_counts: tuple[int, ...]
    logprobs: tuple[TopLogprobs, ...] = ()
    reasoning: tuple[str, ...] = ()
    tool_calls: tuple[ToolCallDelta, ...] = ()


class FinishReason(StrEnum):
    """Why an answer ended by itself."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True)
class Finished:
    """Last, once; an answer without it is none. The output tokens are the sum of every delta's token counts.

    A remote provider counts at the end only: its deltas estimate, its usage is the truth, and may be less than the sum.
    """

    reason: FinishReason
    usage: Usage


Event = Started | Delta | Finished
