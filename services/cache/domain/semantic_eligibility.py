"""Which questions the semantic tier may look at, and how far it may go."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from libs.generation.question import Conversation, Image, Message, Part, Role, ToolCall, ToolResult
from services.cache.domain.code import looks_like_code
from services.cache.domain.english import is_english
from services.cache.domain.key import last_user_text
from services.cache.domain.model import Question, Tier

# No text of 256 tokens is as long; what is longer is not even given to the encoder.
MOST_CHARACTERS = 4_000


class SemanticBypass(StrEnum):
    """Why only the same question may have the answer."""

    TEMPERATURE = "temperature"
    TOOLS = "tools"
    IMAGES = "images"
    EMPTY = "empty"
    TOO_LONG = "too_long"
    CODE = "code"


def semantic_bypass(question: Question) -> SemanticBypass | None:
    """Why the semantic tier must not look, as far as that can be told without the encoder; None when it may."""
    asked = question.input
    if asked.sampling.temperature > 0 and not question.reuse_sampled:
        return SemanticBypass.TEMPERATURE
    if asked.tools or any(_is_of_a_tool(each) for each in _messages(question)):
        # What a tool is asked for, and what it told, hangs on single words.
        return SemanticBypass.TOOLS
    if any(isinstance(part, Image) for part in _parts(question)):
        return SemanticBypass.IMAGES
    return _of_text(last_user_text(question))


def furthest_tier(question: Question, tier: Tier) -> Tier:
    """Not further than STRICT where the question does not show that it is English, which the lexical guard reads."""
    return tier if is_english(last_user_text(question)) else min(tier, Tier.STRICT)


def _of_text(text: str) -> SemanticBypass | None:
    if not text.strip():
        return SemanticBypass.EMPTY
    if len(text) > MOST_CHARACTERS:
        return SemanticBypass.TOO_LONG
    return SemanticBypass.CODE if looks_like_code(text) else None


def _messages(question: Question) -> tuple[Message, ...]:
    prompt = question.input.prompt
    return prompt.messages if isinstance(prompt, Conversation) else ()


def _parts(question: Question) -> Iterator[Part]:
    return (part for message in _messages(question) for part in message.parts)


def _is_of_a_tool(message: Message) -> bool:
    return message.role is Role.TOOL or any(isinstance(each, ToolCall | ToolResult) for each in message.parts)
