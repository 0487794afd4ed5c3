"""Conversations as chat templates know them."""

from __future__ import annotations

from libs.generation.question import Grammar, JsonObject, JsonSchema, Message, Regex, Role, Text, ToolCall, ToolResult
from services.inference.adapters.chat_messages import chat_messages
from services.inference.adapters.vllm_sampling import structured_outputs


def test_parts_of_text_are_joined() -> None:
    message = Message(Role.USER, (Text("How "), Text("warm?")))
    assert list(chat_messages(message)) == [{"role": "user", "content": "How warm?"}]


def test_what_the_assistant_said_and_called_stays_one_message() -> None:
    message = Message(Role.ASSISTANT, (Text("Let me see."), ToolCall("c1", "weather", '{"where": "here"}')))
    function = {"name": "weather", "arguments": '{"where": "here"}'}
    assert list(chat_messages(message)) == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        }
    ]


def test_each_result_of_a_tool_is_a_message_of_its_own() -> None:
    message = Message(Role.TOOL, (ToolResult("c1", "21"), ToolResult("c2", "dry")))
    assert list(chat_messages(message)) == [
        {"role": "tool", "tool_call_id": "c1", "content": "21"},
        {"role": "tool", "tool_call_id": "c2", "content": "dry"},
    ]


def test_every_form_has_its_word_in_vllm() -> None:
    assert structured_outputs(None) == {}
    assert structured_outputs(JsonObject()) == {"json_object": True}
    assert structured_outputs(JsonSchema("{}")) == {"json": "{}"}
    assert structured_outputs(Regex("a+")) == {"regex": "a+"}
    assert structured_outputs(Grammar("root ::= x")) == {"grammar": "root ::= x"}
