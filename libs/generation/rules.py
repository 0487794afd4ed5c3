"""What makes a question acceptable. Every rule that is broken is told at once, with the value and the limit."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from libs.errors import FieldViolation
from libs.generation.question import (
    Conversation,
    JsonSchema,
    Message,
    Question,
    ResponseFormat,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolMode,
    ToolResult,
)


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high; `above` leaves low itself out."""

    low: float
    high: float
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high and not (self.above and value == self.low)

    def __str__(self) -> str:
        top = f"at most {self.high:g}" if math.isfinite(self.high) else ""
        return f"{'above' if self.above else 'at least'} {self.low:g}{' and ' * bool(top)}{top}"


RANGES = {
    "temperature": Range(0, 2),
    "top_p": Range(0, 1, above=True),
    "top_k": Range(0, math.inf),
    "min_p": Range(0, 1),
    "max_tokens": Range(1, math.inf),
    "presence_penalty": Range(-2, 2),
    "frequency_penalty": Range(-2, 2),
    "repetition_penalty": Range(0, 2, above=True),
    "top_logprobs": Range(0, 20),
}
MAX_STOPS = 16
MAX_STOP_BYTES = 256
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Violations = Iterator[FieldViolation]


def broken_rules(question: Question, *, place: str) -> tuple[FieldViolation, ...]:
    """Every rule that the question breaks; `place` is the path of the message that holds it, "request" for example."""
    return tuple(FieldViolation(f"{place}.{each.field}", each.description) for each in _question(question))


def _question(question: Question) -> Violations:
    yield from _prompt(question.prompt)
    yield from _sampling(question.sampling)
    yield from _response_format(question.response_format)
    yield from _tools(question.tools)
    named = question.tool_choice.name
    if question.tool_choice.mode is ToolMode.NAMED and named not in {tool.name for tool in question.tools}:
        yield FieldViolation("tool_choice.name", f"is {named!r}, which is none of the tools: name one of them")
    if question.tool_choice.mode is ToolMode.REQUIRED and not question.tools:
        yield FieldViolation("tool_choice.mode", "requires a tool, and there are no tools: send one")


def _prompt(prompt: str | Conversation) -> Violations:
    if isinstance(prompt, str):
        if not prompt:
            yield FieldViolation("prompt", "is empty: send at least one character")
        return
    if not prompt.messages:
        yield FieldViolation("conversation.messages", "is empty: send at least one message")
    for index, message in enumerate(prompt.messages):
        place = f"conversation.messages[{index}]"
        if message.role is Role.SYSTEM and index > 0:
            yield FieldViolation(f"{place}.role", "is system in mid-conversation: let the system message come first")
        yield from _message(message, place)


def _message(message: Message, place: str) -> Violations:
    if not message.parts:
        yield FieldViolation(f"{place}.parts", "is empty: send at least one part")
    for index, part in enumerate(message.parts):
        here = f"{place}.parts[{index}]"
        # An assistant may have said nothing; nobody asks nothing.
        if isinstance(part, Text) and not part.text and message.role is not Role.ASSISTANT:
            yield FieldViolation(f"{here}.text", "is empty: send at least one character")
        if isinstance(part, ToolCall) and message.role is not Role.ASSISTANT:
            yield FieldViolation(here, f"is a tool call by the {message.role}: only the assistant calls tools")
        if isinstance(part, ToolResult) != (message.role is Role.TOOL):
            yield FieldViolation(here, f"does not fit the role {message.role}: tool results go with the role tool")


def _sampling(sampling: Sampling) -> Violations:
    for name, allowed in RANGES.items():
        value = getattr(sampling, name)
        if value not in allowed:  # NaN is in no range
            yield FieldViolation(f"sampling.{name}", f"is {value:g}: give {allowed}")
    if len(sampling.stop) > MAX_STOPS:
        yield FieldViolation("sampling.stop", f"has {len(sampling.stop)} sequences: give at most {MAX_STOPS}")
    for index, stop in enumerate(sampling.stop):
        size = len(stop.encode())
        if not 1 <= size <= MAX_STOP_BYTES:
            yield FieldViolation(
                f"sampling.stop[{index}]", f"has {size} bytes: give at least 1 and at most {MAX_STOP_BYTES}"
            )


def _response_format(wanted: ResponseFormat | None) -> Violations:
    if isinstance(wanted, JsonSchema):
        yield from _json_object(wanted.schema, "response_format.json_schema")


def _tools(tools: tuple[Tool, ...]) -> Violations:
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        place = f"tools[{index}]"
        if not TOOL_NAME.fullmatch(tool.name):
            yield FieldViolation(f"{place}.name", f"is {tool.name!r}: give 1 to 64 letters, digits, '_' or '-'")
        if tool.name in seen:
            yield FieldViolation(f"{place}.name", f"is {tool.name!r} once more: name each tool differently")
        seen.add(tool.name)
        yield from _json_object(tool.parameters_json_schema, f"{place}.parameters_json_schema")


def _json_object(text: str, place: str) -> Violations:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield FieldViolation(place, f"is not JSON: {error}")
        return
    if not isinstance(parsed, dict):
        yield FieldViolation(place, f"is JSON of type {type(parsed).__name__}: send a schema, which is an object")
