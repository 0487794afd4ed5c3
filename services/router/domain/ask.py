"""What a caller asks for: a question, and what it demands of the model and of the cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from libs.generation.question import Conversation, Image, JsonSchema, Message, Question, Text, ToolCall, ToolResult

# The chat template's own tokens round a message (role markers, separators), more than any template we know uses.
TEMPLATE_TOKENS_PER_MESSAGE = 32
# Bytes of a token in English text, roughly. Only routing uses it; money uses the upper bound.
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the model must offer. None: anything will do."""

    capabilities: frozenset[str] = frozenset()
    max_latency_seconds: float | None = None
    max_cost_micro_usd_per_1k_tokens: int | None = None
    context_tokens: int | None = None


class CacheMode(StrEnum):
    """What one request wants of the cache; the organisation's policy may want less."""

    POLICY = "policy"
    OFF = "off"
    READ_ONLY = "read_only"
    REFRESH = "refresh"


class CacheTier(IntEnum):
    """How like a stored question this one must be: the numbers of CacheControl.Tier. Less is stricter."""

    EXACT = 1
    STRICT = 2
    BALANCED = 3
    CALIBRATED = 4


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. An empty model leaves the choice to the router; a higher priority number is more urgent."""

    question: Question
    model: str = ""
    requirements: Requirements = Requirements()
    cache_mode: CacheMode = CacheMode.POLICY
    # The most; the organisation's policy may allow less.
    cache_tier: CacheTier = CacheTier.CALIBRATED
    cache_ttl_seconds: float | None = None
    priority: int = 0
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def max_output_tokens(self) -> int:
        return self.question.sampling.max_tokens

    @property
    def max_input_tokens(self) -> int:
        """More tokens than any byte-level tokenizer makes of it: every byte one, and the template's.

        Providers read the schema of the answer, too, and bill it as input.
        """
        wanted = self.question.response_format
        schema_bytes = len(wanted.schema.encode()) if isinstance(wanted, JsonSchema) else 0
        return _input_bytes(self.question) + schema_bytes + TEMPLATE_TOKENS_PER_MESSAGE * _messages(self.question)

    @property
    def likely_input_tokens(self) -> int:
        return -(-_input_bytes(self.question) // _BYTES_PER_TOKEN)


def _messages(question: Question) -> int:
    # Tools are rendered into the prompt by a template, each like a message; so are their calls and results.
    prompt = question.prompt
    if isinstance(prompt, str):
        return len(question.tools) + 1
    parts = (part for message in prompt.messages for part in message.parts)
    calls = sum(isinstance(part, ToolCall | ToolResult) for part in parts)
    return len(question.tools) + calls + 1 + len(prompt.messages)


def _input_bytes(question: Question) -> int:
    texts = [question.prompt] if isinstance(question.prompt, str) else _texts(question.prompt)
    texts += [part for tool in question.tools for part in (tool.name, tool.description, tool.parameters_json_schema)]
    return sum(len(each.encode()) for each in texts)


def _texts(conversation: Conversation) -> list[str]:
    return [text for message in conversation.messages for text in _message_texts(message)]


def _message_texts(message: Message) -> list[str]:
    texts: list[str] = []
    for part in message.parts:
        match part:
            case Text(text):
                texts.append(text)
            case ToolCall(call_id, name, arguments_json):
                texts += [call_id, name, arguments_json]
            case ToolResult(call_id, content):
                texts += [call_id, content]
            case Image():
                pass  # no engine takes one yet; its bound will be configured per model
    return texts
