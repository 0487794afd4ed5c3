"""An answer that is still coming in."""

from __future__ import annotations

from dataclasses import dataclass

from libs.errors import FieldViolation, invalid_request
from services.cache.domain.model import AnswerEnd, AnswerPart, FinishReason, Question, Tier, TopLogprobs
from services.cache.domain.stats import FillResult

# What a number costs where it is stored, about.
_NUMBER_BYTES = 16


@dataclass(frozen=True, slots=True)
class FillOrder:
    """What is stored, for whom, and for how long."""

    question: Question
    request_id: str
    ttl_seconds: float
    tags: tuple[str, ...] = ()
    # The span of the request that generated the answer; empty without one.
    traceparent: str = ""
    # Above exact, other questions may find it too.
    tier: Tier = Tier.EXACT
    # Of a leader: names its flight.
    lead_token: str = ""
    # From before it was generated: see AnswerStore.
    as_of: int = 0


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A piece of the answer with fields that this version cannot read, and so could not give again."""


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    """The end of an answer that fails for whoever asks the same."""


FillEvent = FillOrder | AnswerPart | AnswerEnd | AnswerFailed | NotUnderstood


class Draft:
    """Joins the parts. Once `refused` is set nothing can save it; it is whole when `end` is set."""

    def __init__(self, *, max_answer_bytes: int) -> None:
        self.refused: FillResult | None = None
        self.end: AnswerEnd | None = None
        self._parts: list[AnswerPart] = []
        self._room_bytes = max_answer_bytes

    def add(self, event: FillEvent) -> None:
        """Takes the next event; INVALID_REQUEST for one that cannot come here."""
        if self.end is not None:
            raise invalid_request(FieldViolation("event", "comes after the end of the answer: send the end last"))
        match event:
            case FillOrder():
                raise invalid_request(FieldViolation("event", "is a second header: open a stream for each answer"))
            case NotUnderstood():
                self.refused = FillResult.UNKNOWN_FIELDS
            case AnswerPart():
                self._add_part(event)
            case AnswerFailed():
                self.refused = FillResult.UNFINISHED
            case AnswerEnd():
                self.end = event
                if event.finish_reason is not FinishReason.STOP:
                    self.refused = FillResult.FINISH_REASON

    def whole(self) -> AnswerPart:
        """All that came, in order."""
        return AnswerPart(
            text=tuple(piece for part in self._parts for piece in part.text),
            token_counts=tuple(count for part in self._parts for count in part.token_counts),
            logprobs=tuple(each for part in self._parts for each in part.logprobs),
            reasoning=tuple(piece for part in self._parts for piece in part.reasoning),
        )

    def _add_part(self, part: AnswerPart) -> None:
        self._parts.append(part)
        self._room_bytes -= _size_bytes(part)
        if part.calls_tools:
            # What the tool did the first time, a replay would not do.
            self.refused = FillResult.TOOL_CALLS
        elif self._room_bytes < 0:
            self.refused = FillResult.TOO_LARGE


def _size_bytes(part: AnswerPart) -> int:
    texts = sum(len(piece.encode()) for piece in (*part.text, *part.reasoning))
    return texts + _NUMBER_BYTES * len(part.token_counts) + sum(_logprobs_bytes(each) for each in part.logprobs)


def _logprobs_bytes(logprobs: TopLogprobs) -> int:
    return sum(len(each.token.encode()) + _NUMBER_BYTES for each in (logprobs.chosen, *logprobs.top))
