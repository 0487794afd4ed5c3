"""What is asked, as Python has it, and the request that it comes to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from pydantic import TypeAdapter

from libs.errors import FieldViolation, invalid_request
from tokenway.client.rules import check
from tokenway.common.v1 import generation_pb2 as pb
from tokenway.common.v1.generation_pb2 import (
    Conversation,
    Message,
    Part,
    ResponseFormat,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from tokenway.router.v1.router_pb2 import CacheControl, GenerateRequest, Requirements

# A JSON schema, or a type that pydantic can make one of: a BaseModel or a dataclass, for example.
Schema = Mapping[str, Any] | type
# Text of a user, a conversation, or a request with every field that the proto has.
Question = str | Sequence[Message] | GenerateRequest
_MODES = {"auto": ToolChoice.MODE_AUTO, "none": ToolChoice.MODE_NONE, "required": ToolChoice.MODE_REQUIRED}


class Options(TypedDict, total=False):
    """What may be said beside the question. What is left out takes the mesh's defaults (generation.proto)."""

    model: str  # absent: the cheapest that satisfies the requirements
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop: Sequence[str]
    schema: Schema  # the answer is JSON that satisfies it; `Answer.parse` reads it
    tools: Sequence[Tool]
    tool_choice: str  # "auto", "none", "required", or the name of the tool to call
    cache: Literal["off", "read_only", "refresh"]  # absent: the organisation's policy
    requirements: Requirements
    labels: Mapping[str, str]
    timeout_seconds: float  # for the whole answer; travels with the call


def system(text: str) -> Message:
    """Instructions, before everything else."""
    return Message(role=pb.ROLE_SYSTEM, parts=[Part(text=text)])


def user(text: str) -> Message:
    """What the person or program says that asks."""
    return Message(role=pb.ROLE_USER, parts=[Part(text=text)])


def assistant(text: str = "", *, tool_calls: Sequence[ToolCall] = ()) -> Message:
    """What the model said before, and which tools it called."""
    said = [Part(text=text)] if text else []
    return Message(role=pb.ROLE_ASSISTANT, parts=[*said, *(Part(tool_call=each) for each in tool_calls)])


def tool_result(call: ToolCall, content: str) -> Message:
    """What a tool answered to the model's call."""
    return Message(role=pb.ROLE_TOOL, parts=[Part(tool_result=ToolResult(tool_call_id=call.id, content=content))])


def tool(name: str, description: str, arguments: Schema) -> Tool:
    """A tool that the model may call, with the form of its arguments."""
    return Tool(name=name, description=description, parameters_json_schema=_json_schema(arguments))


def request_of(question: Question, options: Options) -> GenerateRequest:
    """The request. A ready one is taken as it is, and options are added to it.

    TypeError for an option that is none; INVALID_REQUEST for values that no request can have.
    """
    check(options, Options.__annotations__)
    try:
        return _request_of(question, options)
    except UnicodeEncodeError as error:
        # As Python keeps the bytes of a file or an argument that is not UTF-8.
        says = f"has the lone surrogate {error.object[error.start]!r}, which is no text: decode it as what it is"
        raise invalid_request(FieldViolation("question", says)) from None


def _request_of(question: Question, options: Options) -> GenerateRequest:
    request = GenerateRequest()
    if isinstance(question, GenerateRequest):
        request.CopyFrom(question)
    else:
        messages = [user(question)] if isinstance(question, str) else question
        request.conversation.CopyFrom(Conversation(messages=messages))
    request.MergeFrom(_said(options))
    return request


def _said(options: Options) -> GenerateRequest:
    return GenerateRequest(
        model=options.get("model", ""),
        sampling=_sampling(options),
        requirements=options.get("requirements"),
        response_format=ResponseFormat(json_schema=_json_schema(options["schema"])) if "schema" in options else None,
        tools=options.get("tools", ()),
        tool_choice=_tool_choice(options["tool_choice"]) if "tool_choice" in options else None,
        cache=CacheControl(mode=CacheControl.Mode.Value(f"MODE_{options['cache'].upper()}"))
        if options.get("cache")
        else None,
        labels=options.get("labels", {}),
    )


def _sampling(options: Options) -> Sampling:
    return Sampling(
        max_tokens=options.get("max_tokens"),
        temperature=options.get("temperature"),
        top_p=options.get("top_p"),
        seed=options.get("seed"),
        stop=options.get("stop", ()),
    )


def _tool_choice(choice: str) -> ToolChoice:
    if choice in _MODES:
        return ToolChoice(mode=_MODES[choice])
    return ToolChoice(mode=ToolChoice.MODE_NAMED, name=choice)


def _json_schema(schema: Schema) -> str:
    described = schema if isinstance(schema, Mapping) else TypeAdapter(schema).json_schema()
    return json.dumps(described)
