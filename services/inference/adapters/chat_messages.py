"""Conversations and tools in OpenAI's form, which chat templates and providers share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from libs.generation.question import Message, Role, Text, Tool, ToolCall, ToolResult

ChatMessage = dict[str, Any]


def chat_messages(message: Message) -> Iterator[ChatMessage]:
    """One message; of tool results one each."""
    if message.role is Role.TOOL:
        for part in message.parts:
            if isinstance(part, ToolResult):
                yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": part.content}
        return
    said: ChatMessage = {
        "role": str(message.role),
        "content": "".join(part.text for part in message.parts if isinstance(part, Text)),
    }
    calls = [_chat_call(part) for part in message.parts if isinstance(part, ToolCall)]
    yield {**said, "tool_calls": calls} if calls else said


def chat_tool(tool: Tool) -> dict[str, Any]:
    parameters = json.loads(tool.parameters_json_schema)
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _chat_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_json}}
