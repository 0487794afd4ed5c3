"""From a question to the body of POST /chat/completions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from libs.errors import FieldViolation, invalid_request
from libs.generation.question import (
    Conversation,
    Grammar,
    Image,
    JsonObject,
    JsonSchema,
    Message,
    Question,
    Regex,
    ResponseFormat,
    Role,
    Sampling,
    Text,
    ToolChoice,
    ToolMode,
)
from libs.settings.schema import OpenAiEngine as OpenAiSettings
from services.inference.adapters.chat_messages import chat_messages, chat_tool

Body = dict[str, Any]
# Not OpenAI's; what each is when it changes nothing.
_EXTRA_SAMPLING = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
# English text has about four bytes a token; a template adds a few tokens a message.
_BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4


class OpenAiRequests:
    """Asks for one streamed answer with its usage. A bare prompt is sent as a user's message."""

    def __init__(self, settings: OpenAiSettings) -> None:
        self._settings = settings

    def body(self, question: Question) -> Body:
        """INVALID_REQUEST names everything that the provider's API has no word for."""
        refused = tuple(_unable(question, self._settings))
        if refused:
            raise invalid_request(*refused)
        body = {"model": self._settings.model, "messages": _messages(question), "stream": True}
        body |= {"stream_options": {"include_usage": True}} | self._sampling(question.sampling)
        body |= _response_format(question.response_format)
        if question.tools:
            body["tools"] = [chat_tool(tool) for tool in question.tools]
            body["tool_choice"] = _tool_choice(question.tool_choice)
        return body

    def _sampling(self, sampling: Sampling) -> Body:
        # Always: nothing else bounds what a provider bills. The router reserves no more than the context either.
        most = min(sampling.max_tokens, self._settings.max_model_len)
        chosen: Body = {
            self._settings.max_tokens_field: most,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        for name in ("presence_penalty", "frequency_penalty"):
            if value := getattr(sampling, name):
                chosen[name] = value
        for name in _extras(sampling):
            chosen[name] = getattr(sampling, name)
        if sampling.seed is not None:
            chosen["seed"] = sampling.seed
        if sampling.stop:
            chosen["stop"] = list(sampling.stop)
        if sampling.top_logprobs:
            chosen |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
        return chosen


def estimated_tokens(question: Question) -> int:
    """About how many tokens the prompt has: providers count for themselves, and tell at the end."""
    messages = _messages(question)
    texts = [each["content"] for each in messages]
    texts += [json.dumps(each["tool_calls"]) for each in messages if "tool_calls" in each]
    texts += [json.dumps(chat_tool(tool)) for tool in question.tools]
    size = sum(len(each.encode()) for each in texts)
    return -(-size // _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE * len(messages)


def _messages(question: Question) -> list[Body]:
    prompt = question.prompt
    messages = prompt.messages if isinstance(prompt, Conversation) else (Message(Role.USER, (Text(prompt),)),)
    return [each for message in messages for each in chat_messages(message)]


def _response_format(wanted: ResponseFormat | None) -> Body:
    match wanted:
        case JsonObject():
            return {"response_format": {"type": "json_object"}}
        case JsonSchema(schema):
            described = {"name": "answer", "schema": json.loads(schema), "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": described}}
        case _:
            return {}


def _tool_choice(choice: ToolChoice) -> str | Body:
    if choice.mode is ToolMode.NAMED:
        return {"type": "function", "function": {"name": choice.name}}
    return str(choice.mode)


def _unable(question: Question, settings: OpenAiSettings) -> Iterator[FieldViolation]:
    for name in _extras(question.sampling):
        if name not in settings.extra_sampling:
            value, none = getattr(question.sampling, name), _EXTRA_SAMPLING[name]
            advice = f"leave it at {none:g}, or let the operator name it in extra_sampling"
            yield FieldViolation(f"input.sampling.{name}", f"is {value:g}, which this provider does not know: {advice}")
    if isinstance(question.response_format, Regex | Grammar):
        kind = type(question.response_format).__name__.lower()
        yield FieldViolation("input.response_format", f"is a {kind}, which this provider does not know: use JSON")
    if isinstance(question.prompt, Conversation):
        parts = (part for message in question.prompt.messages for part in message.parts)
        if any(isinstance(part, Image) for part in parts):
            # What an image costs nobody has bounded yet, so no reservation could cover it.
            yield FieldViolation("input.conversation", "has an image, and this model reads text alone: leave it out")


def _extras(sampling: Sampling) -> Iterator[str]:
    return (name for name, none in _EXTRA_SAMPLING.items() if getattr(sampling, name) != none)
