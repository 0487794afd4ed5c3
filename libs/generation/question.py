"""A question to a model, with every default resolved: what router, cache and inference all reason about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded image and its media type."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the assistant made earlier; the arguments are JSON text."""

    id: str
    name: str
    arguments_json: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool answered to the call of that id."""

    tool_call_id: str
    content: str


Part = Text | Image | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Oldest message first; goes through the model's chat template."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. The ranges are in `libs.generation.rules`; the defaults are the API's."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int = 512
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class JsonObject:
    """The answer is some JSON object."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The answer is JSON that satisfies this schema, itself JSON text."""

    schema: str


@dataclass(frozen=True, slots=True)
class Regex:
    """The answer matches this regular expression."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Grammar:
    """The answer is a sentence of this EBNF grammar."""

    ebnf: str


ResponseFormat = JsonObject | JsonSchema | Regex | Grammar


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call; its arguments follow a JSON schema, given as JSON text."""

    name: str
    description: str
    parameters_json_schema: str


class ToolMode(StrEnum):
    """Whether the model must call a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """The tool's name with NAMED, else empty."""

    mode: ToolMode = ToolMode.NONE
    name: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """All that decides an answer. A prompt is continued as it is, without a chat template."""

    prompt: str | Conversation
    sampling: Sampling = Sampling()
    response_format: ResponseFormat | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
