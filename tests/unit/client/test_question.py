"""What Python says, as the router gets it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from tokenway.client import assistant, system, tool, tool_result, user
from tokenway.client.question import request_of
from tokenway.common.v1 import generation_pb2 as pb
from tokenway.router.v1.router_pb2 import CacheControl, GenerateRequest, Requirements


@dataclass
class Place:
    city: str


def test_text_is_one_message_of_a_user_and_the_rest_is_left_to_the_mesh() -> None:
    request = request_of("hello", {})
    assert request == GenerateRequest(conversation=pb.Conversation(messages=[user("hello")]), sampling=pb.Sampling())
    assert not request.sampling.HasField("temperature")


def test_every_option_has_its_field() -> None:
    request = request_of(
        "hello",
        {
            "model": "small",
            "max_tokens": 5,
            "temperature": 0,
            "top_p": 0.5,
            "seed": 7,
            "stop": ["."],
            "schema": Place,
            "tools": [tool("weather", "Tells the weather", Place)],
            "tool_choice": "weather",
            "cache": "read_only",
            "requirements": Requirements(task_type="chat"),
            "labels": {"ticket": "1"},
        },
    )
    assert request.model == "small"
    assert request.sampling == pb.Sampling(max_tokens=5, temperature=0, top_p=0.5, seed=7, stop=["."])
    assert json.loads(request.response_format.json_schema)["properties"] == {
        "city": {"title": "City", "type": "string"}
    }
    assert request.tools[0].parameters_json_schema == request.response_format.json_schema
    assert request.tool_choice == pb.ToolChoice(mode=pb.ToolChoice.MODE_NAMED, name="weather")
    assert request.cache.mode == CacheControl.MODE_READ_ONLY
    assert request.requirements.task_type == "chat"
    assert dict(request.labels) == {"ticket": "1"}
    assert len(request.ListFields()) == 9, "a field that an option should set is not"


@pytest.mark.parametrize(
    ("choice", "mode"),
    [("auto", pb.ToolChoice.MODE_AUTO), ("none", pb.ToolChoice.MODE_NONE), ("required", pb.ToolChoice.MODE_REQUIRED)],
)
def test_a_choice_that_is_no_name_is_a_mode(choice: str, mode: int) -> None:
    assert request_of("hello", {"tool_choice": choice}).tool_choice == pb.ToolChoice(mode=mode)  # type: ignore[arg-type]


def test_a_conversation_keeps_calls_and_results_together() -> None:
    call = pb.ToolCall(id="1", name="weather", arguments_json="{}")
    told = [system("Be brief."), user("Rain?"), assistant(tool_calls=[call]), tool_result(call, "no")]
    messages = request_of(told, {}).conversation.messages
    roles = [pb.ROLE_SYSTEM, pb.ROLE_USER, pb.ROLE_ASSISTANT, pb.ROLE_TOOL]
    assert [each.role for each in messages] == roles
    assert messages[2].parts == [pb.Part(tool_call=call)]
    assert messages[3].parts[0].tool_result.tool_call_id == "1"


def test_a_ready_request_is_not_changed_by_what_is_added_to_it() -> None:
    ready = GenerateRequest(prompt="Once upon", sampling=pb.Sampling(max_tokens=5))
    request = request_of(ready, {"temperature": 0})
    assert request.prompt == "Once upon"
    assert request.sampling == pb.Sampling(max_tokens=5, temperature=0)
    assert ready.sampling == pb.Sampling(max_tokens=5)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("modle", "'modle' is no option: did you mean 'model'?"),
        ("max_token", "'max_token' is no option: did you mean 'max_tokens'?"),
        ("zzz", "'zzz' is no option: there are model, max_tokens, "),
    ],
)
def test_an_option_that_is_none_is_a_type_error_as_any_argument(option: str, says: str) -> None:
    with pytest.raises(TypeError, match=re.escape(says)):
        request_of("hello", {option: 3})  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_tokens": -1}, "max_tokens: is -1: give a whole number, at least 0 and at most 4294967295"),
        ({"max_tokens": 2**40}, "max_tokens: is 1099511627776: give a whole number, at least 0 and at most 4294967295"),
        ({"max_tokens": "3"}, "max_tokens: is '3': give a whole number, at least 0 and at most 4294967295"),
        ({"seed": 2**63}, "seed: is 9223372036854775808: give a whole number, at least -9223372036854775808"),
        ({"cache": "sometimes"}, "cache: is 'sometimes': give off, read_only, refresh, or leave it out"),
        ({"stop": "END"}, "stop: is one text, whose every letter would stop the answer: give a list of texts"),
        ({"max_tokens": -1, "cache": "on"}, "4294967295; cache: is 'on'"),
    ],
)
def test_a_value_that_no_request_can_have_is_refused_with_its_limits(options: Any, says: str) -> None:
    with pytest.raises(TokenwayError, match=re.escape(says)) as refused:
        request_of("hello", options)
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert {each.field for each in refused.value.fields} == set(options)


def test_bytes_that_were_no_text_are_said_to_be_none() -> None:
    with pytest.raises(TokenwayError, match=r"question: has the lone surrogate .*, which is no text") as refused:
        request_of("b\udcff", {})
    assert refused.value.reason is Reason.INVALID_REQUEST


def test_none_is_as_good_as_left_out() -> None:
    nothing: Any = {"max_tokens": None, "seed": None, "cache": None}
    assert request_of("hello", nothing) == request_of("hello", {})
