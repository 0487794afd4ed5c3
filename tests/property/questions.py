"""Questions to the cache as messages: one with everything in it, any, and each with one thing changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from tokenway.cache.v1 import cache_pb2
from tokenway.common.v1 import generation_pb2 as pb
from tokenway.common.v1 import principal_pb2

# Who may not change the key: within the organisation all share, and these say only whether an answer may be reused.
CHANGES_NO_ANSWER = frozenset(
    {"principal.key_id", "principal.user", "principal.team", "principal.role", "reuse_sampled"}
)
_INTEGERS = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64} | {
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}


@dataclass(frozen=True, slots=True)
class Change:
    """A message that differs from another in one place."""

    path: str
    # As proto calls the field, whichever message it was found in.
    field: str
    message: cache_pb2.Question


def changes(question: cache_pb2.Question) -> Iterator[Change]:
    """The question with every field of every message in it changed, one at a time."""
    for path, field, steps in _places(question, "", ()):
        for label, change in _ways(field):
            changed = cache_pb2.Question()
            changed.CopyFrom(question)
            target = changed
            for step in steps:
                target = step(target)
            change(target)
            if changed != question:
                yield Change(f"{path}{label}", field.full_name, changed)


def reachable_fields(descriptor: Descriptor) -> set[str]:
    """Every field of a message and of the messages in it, but for those that only hold a message."""
    found = set()
    for field in descriptor.fields:
        found.add(field.full_name)
        if field.message_type is not None:
            found |= reachable_fields(field.message_type)
    return found


def _places(message: Message, path: str, steps: tuple[Any, ...]) -> Iterator[tuple[str, Any, Any]]:
    for field in message.DESCRIPTOR.fields:
        here = f"{path}{field.name}"
        yield here, field, steps
        if field.message_type is None:
            continue
        if field.is_repeated:
            for index, each in enumerate(getattr(message, field.name)):
                yield from _places(each, f"{here}[{index}].", (*steps, _step(field.name, index)))
        elif message.HasField(field.name):
            yield from _places(getattr(message, field.name), f"{here}.", (*steps, _step(field.name)))


def _step(name: str, index: int | None = None) -> Any:
    return lambda message: getattr(message, name) if index is None else getattr(message, name)[index]


def _ways(field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    """How this field of a message can be changed; one that leaves it as it was is passed over."""
    name = field.name
    if field.is_repeated and field.message_type is not None:
        yield " dropped", lambda message: getattr(message, name).__delitem__(slice(-1, None))
        yield " doubled", lambda message: getattr(message, name).extend(getattr(message, name)[-1:])
    elif field.is_repeated:
        yield " dropped", lambda message: getattr(message, name).__delitem__(slice(-1, None))
        yield " added", lambda message: getattr(message, name).append("more")
    elif field.message_type is not None:
        if field.containing_oneof is None:
            yield " cleared", lambda message: message.ClearField(name)
    else:
        yield " other", lambda message: setattr(message, name, _other(field, getattr(message, name)))


def _other(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        numbers = [each.number for each in field.enum_type.values]
        return next(number for number in reversed(numbers) if number != value)
    if field.cpp_type in _INTEGERS:
        return value + 1
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return not value
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return value + 0.125
    return value + (b"~" if isinstance(value, bytes) else "~")


def full_question() -> cache_pb2.Question:
    """One with every field set, but for what excludes another: each way of a oneof in a part of its own."""
    parts = [
        pb.Part(text="What is this?"),
        pb.Part(image=pb.Image(data=b"\x89PNG", media_type="image/png")),
    ]
    call = pb.Part(tool_call=pb.ToolCall(id="c1", name="look_up", arguments_json='{"q": 1}'))
    result = pb.Part(tool_result=pb.ToolResult(tool_call_id="c1", content="42"))
    return cache_pb2.Question(
        principal=principal_pb2.Principal(
            key_id="ci", user="ann", team="web", organisation="acme", role=principal_pb2.KEY_ROLE_CALLER
        ),
        scope=cache_pb2.CACHE_SCOPE_ORGANISATION,
        model="small",
        model_revision="1",
        adapter="legal",
        input=pb.GenerationInput(
            conversation=pb.Conversation(
                messages=[
                    pb.Message(role=pb.ROLE_SYSTEM, parts=[pb.Part(text="Be brief.")]),
                    pb.Message(role=pb.ROLE_USER, parts=parts),
                    pb.Message(role=pb.ROLE_ASSISTANT, parts=[call]),
                    pb.Message(role=pb.ROLE_TOOL, parts=[result]),
                    pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text="And this?")]),
                ]
            ),
            sampling=pb.Sampling(
                temperature=0.5,
                top_p=0.5,
                top_k=5,
                max_tokens=64,
                presence_penalty=0.5,
                frequency_penalty=0.25,
                repetition_penalty=1.5,
                seed=7,
                stop=["END"],
                top_logprobs=3,
                min_p=0.25,
            ),
            response_format=pb.ResponseFormat(json_schema='{"type": "object"}'),
            tools=[pb.Tool(name="look_up", description="Looks up.", parameters_json_schema="{}")],
            tool_choice=pb.ToolChoice(mode=pb.ToolChoice.MODE_NAMED, name="look_up"),
        ),
        policy_version="7",
        reuse_sampled=True,
    )


_WORDS = st.text(st.sampled_from("aB \n.0é"), min_size=1, max_size=8)
_ZERO_TO_ONE = st.sampled_from([0.0, 0.25, 0.5, 1.0])
_PARTS = st.one_of(
    _WORDS.map(lambda text: pb.Part(text=text)),
    st.binary(max_size=4).map(lambda data: pb.Part(image=pb.Image(data=data, media_type="image/png"))),
    _WORDS.map(lambda text: pb.Part(tool_call=pb.ToolCall(id=text, name="f", arguments_json="{}"))),
    _WORDS.map(lambda text: pb.Part(tool_result=pb.ToolResult(tool_call_id=text, content="x"))),
)
_ROLES = st.sampled_from([pb.ROLE_SYSTEM, pb.ROLE_USER, pb.ROLE_ASSISTANT, pb.ROLE_TOOL])
_MESSAGES = st.builds(pb.Message, role=_ROLES, parts=st.lists(_PARTS, min_size=1, max_size=3))
_SAMPLING = st.builds(
    pb.Sampling,
    temperature=_ZERO_TO_ONE,
    top_p=_ZERO_TO_ONE,
    top_k=st.integers(0, 3),
    max_tokens=st.integers(1, 3),
    seed=st.integers(-2, 2),
    stop=st.lists(_WORDS, max_size=2),
)
_INPUTS = st.one_of(
    st.builds(pb.GenerationInput, prompt=_WORDS, sampling=_SAMPLING),
    st.builds(
        pb.GenerationInput,
        conversation=st.builds(pb.Conversation, messages=st.lists(_MESSAGES, min_size=1, max_size=4)),
        sampling=_SAMPLING,
        tools=st.lists(st.builds(pb.Tool, name=_WORDS, parameters_json_schema=st.just("{}")), max_size=2),
    ),
)
questions = st.builds(
    cache_pb2.Question,
    principal=st.builds(principal_pb2.Principal, organisation=_WORDS, key_id=_WORDS),
    model=_WORDS,
    model_revision=_WORDS,
    input=_INPUTS,
    policy_version=_WORDS,
    reuse_sampled=st.just(True),
)
_SCOPES = st.sampled_from(list(cache_pb2.CacheScope.values()))
_PRINCIPALS = st.builds(
    principal_pb2.Principal, organisation=_WORDS, key_id=_WORDS, user=_WORDS | st.just(""), team=_WORDS | st.just("")
)


@st.composite
def shared_questions(draw: st.DrawFn) -> cache_pb2.Question:
    """Any, shared by any part of its organisation."""
    question = draw(questions)
    question.scope = draw(_SCOPES)
    question.principal.CopyFrom(draw(_PRINCIPALS))
    question.adapter = draw(_WORDS | st.just(""))
    return question
