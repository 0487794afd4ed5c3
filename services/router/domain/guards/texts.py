"""Every text of a question that an engine sees, with the name of its field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto

from libs.generation.question import (
    Conversation,
    Grammar,
    Image,
    JsonSchema,
    Message,
    Part,
    Question,
    Regex,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)


class TextKind(Enum):
    """What may be done to a text."""

    PLAIN = auto()
    JSON = auto()
    # Perhaps JSON: whatever a tool said.
    ANY = auto()
    # Other fields and the answer refer to it: it cannot be rewritten.
    NAME = auto()


# Field, kind, text → the text as it shall be.
Rewrite = Callable[[str, TextKind, str], str]


def rewritten(question: Question, rewrite: Rewrite) -> Question:
    """The question with each of its texts as `rewrite` returns it; they are visited in one order, always."""
    stops = [
        rewrite(f"sampling.stop[{index}]", TextKind.PLAIN, stop) for index, stop in enumerate(question.sampling.stop)
    ]
    return replace(
        question,
        prompt=_prompt(question.prompt, rewrite),
        sampling=replace(question.sampling, stop=tuple(stops)),
        response_format=_response_format(question.response_format, rewrite),
        tools=tuple(_tool(each, f"tools[{index}]", rewrite) for index, each in enumerate(question.tools)),
    )


def _prompt(prompt: str | Conversation, rewrite: Rewrite) -> str | Conversation:
    if isinstance(prompt, str):
        return rewrite("prompt", TextKind.PLAIN, prompt)
    place = "conversation.messages"
    return Conversation(
        tuple(_message(each, f"{place}[{index}]", rewrite) for index, each in enumerate(prompt.messages))
    )


def _message(message: Message, place: str, rewrite: Rewrite) -> Message:
    parts = enumerate(message.parts)
    return Message(message.role, tuple(_part(each, f"{place}.parts[{index}]", rewrite) for index, each in parts))


def _part(part: Part, place: str, rewrite: Rewrite) -> Part:
    match part:
        case Text(text):
            return Text(rewrite(f"{place}.text", TextKind.PLAIN, text))
        case ToolCall(call_id, name, arguments):
            return ToolCall(
                rewrite(f"{place}.tool_call.id", TextKind.PLAIN, call_id),
                rewrite(f"{place}.tool_call.name", TextKind.NAME, name),
                rewrite(f"{place}.tool_call.arguments_json", TextKind.JSON, arguments),
            )
        case ToolResult(call_id, content):
            return ToolResult(
                rewrite(f"{place}.tool_result.tool_call_id", TextKind.PLAIN, call_id),
                rewrite(f"{place}.tool_result.content", TextKind.ANY, content),
            )
        case Image():
            return part  # no engine takes one yet


def _tool(tool: Tool, place: str, rewrite: Rewrite) -> Tool:
    return Tool(
        rewrite(f"{place}.name", TextKind.NAME, tool.name),
        rewrite(f"{place}.description", TextKind.PLAIN, tool.description),
        rewrite(f"{place}.parameters_json_schema", TextKind.JSON, tool.parameters_json_schema),
    )


def _response_format(wanted: ResponseFormat | None, rewrite: Rewrite) -> ResponseFormat | None:
    place = "response_format"
    match wanted:
        case JsonSchema(schema):
            return JsonSchema(rewrite(f"{place}.json_schema", TextKind.JSON, schema))
        case Regex(pattern):
            return Regex(rewrite(f"{place}.regex", TextKind.PLAIN, pattern))
        case Grammar(ebnf):
            return Grammar(rewrite(f"{place}.grammar", TextKind.PLAIN, ebnf))
        case _:
            return wanted
