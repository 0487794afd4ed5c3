"""What is accepted here. Every rule that is broken is told at once, with the value and the limit."""

from __future__ import annotations

from collections.abc import Iterator

from libs.errors import FieldViolation, Reason, TokenwayError, invalid_request
from libs.generation.question import Question
from libs.generation.rules import broken_rules
from services.inference.domain.model import EngineRequest

# Of the question within its message.
PLACE = "input"


def validate(request: EngineRequest, *, model: str) -> None:
    """INVALID_REQUEST naming every field that breaks a rule. `model` is the one that runs here."""
    broken = (*_misdirected(request, model), *broken_rules(request.question, place=PLACE))
    if broken:
        raise invalid_request(*broken)


def validate_question(question: Question) -> None:
    """The same for a question alone."""
    broken = broken_rules(question, place=PLACE)
    if broken:
        raise invalid_request(*broken)


def fit(*, input_tokens: int, max_tokens: int, max_model_tokens: int) -> int:
    """The output tokens there is room for, at most `max_tokens`; CONTEXT_TOO_LONG if not even one."""
    room = max_model_tokens - input_tokens
    if room < 1:
        raise TokenwayError(
            Reason.CONTEXT_TOO_LONG,
            f"the prompt has {input_tokens} tokens; this model takes {max_model_tokens}, answer included: "
            f"shorten the prompt to at most {max_model_tokens - 1}",
            {"input_tokens": str(input_tokens), "context_window_tokens": str(max_model_tokens)},
        )
    return min(max_tokens, room)


def _misdirected(request: EngineRequest, model: str) -> Iterator[FieldViolation]:
    if request.model != model:
        yield FieldViolation("model", f"is {request.model!r}, and {model!r} runs here: ask a replica of the model")
    if request.adapter:
        yield FieldViolation("adapter", f"is {request.adapter!r}, and no adapters are loaded here: leave it empty")
