"""The bound of the input that money is reserved for: never below what an engine or a provider may count."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from libs.generation.question import (
    Conversation,
    JsonSchema,
    Message,
    Part,
    Question,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from services.inference.adapters.chat_messages import chat_messages, chat_tool
from services.router.domain.ask import Ask

# More than a template writes round a message, a tool, a call or a result.
_FRAME_TOKENS = 24
CALL = ToolCall("call_0123456789abcdef", "look_up", '{"town": "Zürich"}')
RESULT = ToolResult("call_0123456789abcdef", "8 °C")
TOOL = Tool("look_up", "The weather.", '{"type": "object", "properties": {"town": {"type": "string"}}}')


def question(role: Role, *parts: Part) -> Question:
    asked = Message(Role.USER, (Text("Wie warm ist es in Zürich? 🌡"),))
    return Question(Conversation((asked, Message(role, parts))))


def most_tokens(asked: Question) -> int:
    """A token a byte of all that is said, and the frames of what a provider is sent."""
    assert isinstance(asked.prompt, Conversation)
    sent = [each for message in asked.prompt.messages for each in chat_messages(message)]
    calls = [call for each in sent for call in each.get("tool_calls", ())]
    said = [each["content"] for each in sent]
    said += [call["id"] + call["function"]["name"] + call["function"]["arguments"] for call in calls]
    said += [json.dumps(chat_tool(each)["function"]["parameters"]) for each in asked.tools]
    if isinstance(asked.response_format, JsonSchema):
        said.append(asked.response_format.schema)
    return sum(len(each.encode()) for each in said) + _FRAME_TOKENS * (len(sent) + len(calls) + len(asked.tools))


@pytest.mark.parametrize(
    "asked",
    [
        question(Role.ASSISTANT, Text("8 °C")),
        question(Role.ASSISTANT, *[CALL] * 50),
        question(Role.TOOL, *[replace(RESULT, content="")] * 50),
        replace(question(Role.ASSISTANT, CALL), tools=(TOOL,)),
        replace(question(Role.ASSISTANT), response_format=JsonSchema(json.dumps({"enum": ["8 °C"] * 500}))),
    ],
    ids=["texts", "many calls", "many results", "tools", "a schema"],
)
def test_no_input_is_counted_above_its_bound(asked: Question) -> None:
    assert Ask(asked).max_input_tokens >= most_tokens(asked)
