"""A question on the wire and off it: `GenerationInput` and `libs.generation.question`, total in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message as ProtoMessage

from libs.errors import FieldViolation, invalid_request
from libs.generation.question import (
    Conversation,
    Grammar,
    Image,
    JsonObject,
    JsonSchema,
    Message,
    Part,
    Question,
    Regex,
    ResponseFormat,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from tokenway.common.v1 import generation_pb2 as pb

_ROLES = {
    pb.ROLE_SYSTEM: Role.SYSTEM,
    pb.ROLE_USER: Role.USER,
    pb.ROLE_ASSISTANT: Role.ASSISTANT,
    pb.ROLE_TOOL: Role.TOOL,
}
_ROLES_BACK = {role: number for number, role in _ROLES.items()}
_MODES = {
    pb.ToolChoice.MODE_AUTO: ToolMode.AUTO,
    pb.ToolChoice.MODE_NONE: ToolMode.NONE,
    pb.ToolChoice.MODE_REQUIRED: ToolMode.REQUIRED,
    pb.ToolChoice.MODE_NAMED: ToolMode.NAMED,
}
_MODES_BACK = {mode: number for number, mode in _MODES.items()}
# Those with a default of their own: what the caller leaves out takes it.
_SCALARS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_tokens",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "top_logprobs",
)


def discard_unknown_fields(message: ProtoMessage) -> bool:
    """Drops, at any depth, what a newer client sent and this version cannot read; True if there was any.

    An answer to such a message must not be cached: what was dropped may have changed it.
    """
    before = message.ByteSize()
    message.DiscardUnknownFields()
    return message.ByteSize() != before


def question_from_proto(message: pb.GenerationInput, *, place: str) -> Question:
    """The question with every default resolved. INVALID_REQUEST for what has no meaning: no input, an unknown role.

    Rules about values are `libs.generation.rules`'.
    """
    tools = tuple(Tool(each.name, each.description, each.parameters_json_schema) for each in message.tools)
    return Question(
        prompt=_prompt(message, place),
        sampling=_sampling(message.sampling),
        response_format=_response_format(message.response_format),
        tools=tools,
        tool_choice=_tool_choice(message.tool_choice, place, has_tools=bool(tools)),
    )


def question_to_proto(question: Question) -> pb.GenerationInput:
    """The question with every field set, defaults included."""
    prompt, sampling = question.prompt, question.sampling
    values = {name: getattr(sampling, name) for name in _SCALARS if getattr(sampling, name) is not None}
    message = pb.GenerationInput(
        sampling=pb.Sampling(**values, stop=sampling.stop),
        tools=[
            pb.Tool(name=each.name, description=each.description, parameters_json_schema=each.parameters_json_schema)
            for each in question.tools
        ],
        tool_choice=pb.ToolChoice(mode=_MODES_BACK[question.tool_choice.mode], name=question.tool_choice.name),
    )
    if question.response_format is not None:
        message.response_format.CopyFrom(_response_format_to_proto(question.response_format))
    if isinstance(prompt, str):
        message.prompt = prompt
    else:
        message.conversation.messages.extend(_message_to_proto(each) for each in prompt.messages)
        message.conversation.SetInParent()
    return message


def _prompt(message: pb.GenerationInput, place: str) -> str | Conversation:
    kind = message.WhichOneof("input")
    if kind is None:
        raise invalid_request(FieldViolation(place, "has neither a prompt nor a conversation: send one of them"))
    if kind == "prompt":
        return message.prompt
    where = f"{place}.conversation.messages"
    return Conversation(
        tuple(_message(each, f"{where}[{index}]") for index, each in enumerate(message.conversation.messages))
    )


def _message(message: pb.Message, place: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        known = ", ".join(each.value for each in Role)
        raise invalid_request(FieldViolation(f"{place}.role", f"is {message.role}: give one of {known}"))
    return Message(role, tuple(_part(each, f"{place}.parts[{index}]") for index, each in enumerate(message.parts)))


def _part(part: pb.Part, place: str) -> Part:
    kind = part.WhichOneof("part")
    if kind is None:
        raise invalid_request(FieldViolation(place, "is empty: send text, an image, a tool call or a tool result"))
    return _PARTS[kind](getattr(part, kind))


_PARTS: dict[str, Callable[[Any], Part]] = {
    "text": Text,
    "image": lambda image: Image(image.data, image.media_type),
    "tool_call": lambda call: ToolCall(call.id, call.name, call.arguments_json),
    "tool_result": lambda result: ToolResult(result.tool_call_id, result.content),
}


def _sampling(sampling: pb.Sampling) -> Sampling:
    given = {name: getattr(sampling, name) for name in _SCALARS if sampling.HasField(name)}  # type: ignore[arg-type]
    return Sampling(**given, stop=tuple(sampling.stop))


def _response_format(message: pb.ResponseFormat) -> ResponseFormat | None:
    match message.WhichOneof("format"):
        case "json_object":
            return JsonObject() if message.json_object else None
        case "json_schema":
            return JsonSchema(message.json_schema)
        case "regex":
            return Regex(message.regex)
        case "grammar":
            return Grammar(message.grammar)
        case None:
            return None


def _response_format_to_proto(wanted: ResponseFormat) -> pb.ResponseFormat:
    match wanted:
        case JsonObject():
            return pb.ResponseFormat(json_object=True)
        case JsonSchema(schema):
            return pb.ResponseFormat(json_schema=schema)
        case Regex(pattern):
            return pb.ResponseFormat(regex=pattern)
        case Grammar(ebnf):
            return pb.ResponseFormat(grammar=ebnf)


def _tool_choice(choice: pb.ToolChoice, place: str, *, has_tools: bool) -> ToolChoice:
    if choice.mode == pb.ToolChoice.MODE_UNSPECIFIED:
        return ToolChoice(ToolMode.AUTO if has_tools else ToolMode.NONE, choice.name)
    mode = _MODES.get(choice.mode)
    if mode is None:
        known = ", ".join(each.value for each in ToolMode)
        raise invalid_request(FieldViolation(f"{place}.tool_choice.mode", f"is {choice.mode}: give one of {known}"))
    return ToolChoice(mode, choice.name)


def _message_to_proto(message: Message) -> pb.Message:
    return pb.Message(role=_ROLES_BACK[message.role], parts=[_part_to_proto(each) for each in message.parts])


def _part_to_proto(part: Part) -> pb.Part:
    match part:
        case Text(text):
            return pb.Part(text=text)
        case Image(data, media_type):
            return pb.Part(image=pb.Image(data=data, media_type=media_type))
        case ToolCall(call_id, name, arguments_json):
            return pb.Part(tool_call=pb.ToolCall(id=call_id, name=name, arguments_json=arguments_json))
        case ToolResult(call_id, content):
            return pb.Part(tool_result=pb.ToolResult(tool_call_id=call_id, content=content))
