"""A question survives the way over the wire, whatever it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.generation.question import (
    Conversation,
    Grammar,
    Image,
    JsonObject,
    JsonSchema,
    Message,
    Question,
    Regex,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from libs.rpc.generation import discard_unknown_fields, question_from_proto, question_to_proto
from tokenway.common.v1 import generation_pb2

TEXT = st.text(max_size=20)
UINT32 = st.integers(0, 2**32 - 1)
DOUBLE = st.floats(allow_nan=False)
PARTS = st.one_of(
    st.builds(Text, TEXT),
    st.builds(Image, st.binary(max_size=8), TEXT),
    st.builds(ToolCall, TEXT, TEXT, TEXT),
    st.builds(ToolResult, TEXT, TEXT),
)
MESSAGES = st.builds(Message, st.sampled_from(Role), st.lists(PARTS, max_size=3).map(tuple))
QUESTIONS = st.builds(
    Question,
    prompt=TEXT | st.builds(Conversation, st.lists(MESSAGES, max_size=3).map(tuple)),
    sampling=st.builds(
        Sampling,
        temperature=DOUBLE,
        top_p=DOUBLE,
        top_k=UINT32,
        min_p=DOUBLE,
        max_tokens=UINT32,
        presence_penalty=DOUBLE,
        frequency_penalty=DOUBLE,
        repetition_penalty=DOUBLE,
        seed=st.none() | st.integers(-(2**63), 2**63 - 1),
        stop=st.lists(TEXT, max_size=2).map(tuple),
        top_logprobs=UINT32,
    ),
    response_format=st.none()
    | st.builds(JsonObject)
    | st.builds(JsonSchema, TEXT)
    | st.builds(Regex, TEXT)
    | st.builds(Grammar, TEXT),
    tools=st.lists(st.builds(Tool, TEXT, TEXT, TEXT), max_size=2).map(tuple),
    tool_choice=st.builds(ToolChoice, st.sampled_from(ToolMode), TEXT),
)


@given(QUESTIONS)
def test_a_question_comes_back_as_it_went(question: Question) -> None:
    wire = question_to_proto(question).SerializeToString()
    assert question_from_proto(generation_pb2.GenerationInput.FromString(wire), place="input") == question


def test_what_the_caller_left_out_takes_the_documented_default() -> None:
    question = question_from_proto(generation_pb2.GenerationInput(prompt="hello"), place="input")
    assert question == Question("hello", Sampling(temperature=0.7, top_p=0.9, max_tokens=512))


def test_zero_is_a_value_and_not_the_default() -> None:
    sent = generation_pb2.GenerationInput(prompt="hello", sampling=generation_pb2.Sampling(temperature=0))
    assert question_from_proto(sent, place="input").sampling.temperature == 0


def test_a_field_of_a_newer_version_is_noticed_at_any_depth() -> None:
    known = generation_pb2.GenerationInput(
        conversation=generation_pb2.Conversation(messages=[generation_pb2.Message(role=generation_pb2.ROLE_USER)])
    )
    # Field 15, varint 1: appended to the innermost message.
    message = generation_pb2.Message.FromString(known.conversation.messages[0].SerializeToString() + b"\x78\x01")
    newer = generation_pb2.GenerationInput(conversation=generation_pb2.Conversation(messages=[message]))
    assert discard_unknown_fields(newer)
    assert not discard_unknown_fields(newer)
    assert newer == known
