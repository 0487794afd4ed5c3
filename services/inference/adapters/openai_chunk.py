"""The chunks of a streamed chat completion: as much of each as an answer needs, and that checked."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from services.inference.adapters.openai_events import MalformedError

# No model reads or writes more: a count beyond it is none.
_Tokens = Annotated[int, Field(ge=0, le=10_000_000)]


class _Part(BaseModel):
    """Providers add fields of their own, which mean nothing here, and write null for what they have not."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Function(_Part):
    name: str | None = None
    arguments: str | None = None


class ToolCallPart(_Part):
    index: NonNegativeInt
    id: str | None = None
    function: Function | None = None


class Said(_Part):
    """`reasoning_content` is DeepSeek's and vLLM's name, `reasoning` OpenRouter's."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCallPart, ...] | None = None


class LikelyToken(_Part):
    token: str
    logprob: float


class ChosenToken(LikelyToken):
    top_logprobs: tuple[LikelyToken, ...] = ()


class Logprobs(_Part):
    content: tuple[ChosenToken, ...] | None = None


class Choice(_Part):
    delta: Said = Said()
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class PromptDetails(_Part):
    cached_tokens: _Tokens | None = None


class Counted(_Part):
    """What the provider bills; it counts hidden reasoning as output."""

    prompt_tokens: _Tokens
    completion_tokens: _Tokens
    prompt_tokens_details: PromptDetails | None = None

    @property
    def cached_tokens(self) -> int:
        return (self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None) or 0


class Chunk(_Part):
    """One choice was asked for; the chunk with the usage has none."""

    choices: tuple[Choice, ...] = Field(default=(), max_length=1)
    usage: Counted | None = None
    error: Any = None

    @classmethod
    def of(cls, data: str) -> Self:
        """MalformedError, without a word of the data: it may be the answer's."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            raise MalformedError(f"a chunk is malformed ({first['type']})") from None
