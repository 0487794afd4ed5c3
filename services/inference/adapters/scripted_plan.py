"""What the scripted engine is going to do for one request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from libs.errors import FieldViolation, Reason, TokenwayError, invalid_request
from services.inference.adapters.scripted_directives import Directives, directives
from services.inference.adapters.scripted_text import endless_answer, prompt_of, tokens_of
from services.inference.domain.answer import FinishReason
from services.inference.domain.model import EngineRequest
from services.inference.domain.validate import fit

_FAULTS = ("fault:stall_after", "fault:cut_after", "fault:no_finish_after", "fault:die_after")


@dataclass(frozen=True, slots=True)
class Script:
    """How the engine behaves where a prompt does not say otherwise."""

    tokens_per_second: float = 50
    first_token_seconds: float = 0.02
    answer_tokens: int = 32
    max_model_tokens: int = 4_096
    max_sequences: int = 256
    # Gets one JSON line a token, on disk before the token is handed out: {"request_id": "…", "index": 0}.
    made_tokens_file: str | None = None
    # Whether prompts are searched for directives; see scripted_directives.
    allow_directives: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`words` are endless; `length` of them are made. Then comes the fault, or if there is none the end."""

    input_tokens: int
    words: Iterator[str]
    length: int
    reason: FinishReason
    fault: str | None
    tokens_per_second: float
    first_token_seconds: float
    # The answer stops after so many tokens until there is such a file.
    gate: Path | None
    gate_after: int

    def due(self, seconds: float, *, made: int) -> int:
        """Tokens that ought to be made so long after the first, at least one more than were `made`."""
        end = self.gate_after if self.gate and made < self.gate_after else self.length
        return min(end, max(made, int(seconds * self.tokens_per_second)) + 1)


def plan(request: EngineRequest, script: Script, *, model: str) -> Plan:
    """The plan for a request, or the error with which it is refused."""
    prompt = prompt_of(request.question)
    told = directives(prompt, attempt=request.attempt) if script.allow_directives else Directives()
    _refuse(told, model)
    input_tokens = len(tokens_of(prompt))
    most = request.question.sampling.max_tokens
    room = fit(input_tokens=input_tokens, max_tokens=most, max_model_tokens=script.max_model_tokens)
    words, wanted = _answer(told, prompt, script)
    length = min(wanted, room)
    fault, after = _fault(told, length)
    gate = told.text("gate")
    return Plan(
        input_tokens=input_tokens,
        words=words,
        length=after,
        reason=FinishReason.STOP if wanted <= room else FinishReason.LENGTH,
        fault=fault,
        tokens_per_second=told.number("pace") or script.tokens_per_second,
        first_token_seconds=_or(told.number("fault:first_token"), script.first_token_seconds),
        gate=Path(gate) if gate else None,
        gate_after=int(_or(told.number("gate_after"), 0)),
    )


def _refuse(told: Directives, model: str) -> None:
    if "fault:refuse" in told:
        raise invalid_request(FieldViolation("input", "the prompt tells the engine to refuse it"))
    if "fault:overloaded" in told:
        again = told.number("fault:overloaded")
        raise TokenwayError(Reason.QUEUE_FULL, f"{model} has too much waiting", {"model": model}, again)
    if "fault:unavailable" in told:
        raise TokenwayError(Reason.SERVICE_UNAVAILABLE, f"{model} is away", {"service": "inference"})


def _answer(told: Directives, prompt: str, script: Script) -> tuple[Iterator[str], int]:
    echo = told.text("echo")
    if echo is not None:
        words = tokens_of(echo)
        return iter(words), len(words)
    return endless_answer(prompt), int(_or(told.number("tokens"), script.answer_tokens))


def _fault(told: Directives, length: int) -> tuple[str | None, int]:
    """The fault that comes first within the answer, and after how many tokens; (None, length) without one."""
    coming = [(int(_or(told.number(name), 0)), name) for name in _FAULTS if name in told]
    after, name = min(coming, default=(length + 1, ""))
    return (name, after) if after <= length else (None, length)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
