"""What a provider is asked, and what cannot be asked of it."""

from __future__ import annotations

from typing import Any

import pytest

from libs.errors import TokenwayError
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
    Tool,
    ToolChoice,
    ToolMode,
)
from libs.settings.schema import OpenAiEngine
from services.inference.adapters.openai_request import OpenAiRequests, estimated_tokens


def body(question: Question, **settings: Any) -> dict[str, Any]:
    chosen = OpenAiEngine(kind="openai", base_url="https://api.example.com/v1", model="m", **settings)
    return OpenAiRequests(chosen).body(question)


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        (None, None),
        (JsonObject(), {"type": "json_object"}),
        (
            JsonSchema('{"type": "object"}'),
            {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True}},
        ),
    ],
)
def test_each_form_that_providers_know_is_asked_for(wanted: ResponseFormat | None, sent: Any) -> None:
    assert body(Question("Hello", response_format=wanted)).get("response_format") == sent


@pytest.mark.parametrize("mode", [ToolMode.AUTO, ToolMode.NONE, ToolMode.REQUIRED])
def test_each_tool_mode_is_passed_on(mode: ToolMode) -> None:
    tools = (Tool("find", "Finds.", '{"type": "object"}'),)
    asked = body(Question("Hello", tools=tools, tool_choice=ToolChoice(mode)))
    assert asked["tool_choice"] == str(mode)
    function = {"name": "find", "description": "Finds.", "parameters": {"type": "object"}}
    assert asked["tools"] == [{"type": "function", "function": function}]


def test_without_tools_nothing_is_said_of_them() -> None:
    assert not {"tools", "tool_choice"} & body(Question("Hello")).keys()


def test_max_tokens_goes_by_the_name_that_the_provider_takes() -> None:
    asked = body(Question("Hello", Sampling(max_tokens=9)), max_tokens_field="max_completion_tokens")
    assert asked["max_completion_tokens"] == 9
    assert "max_tokens" not in asked


def test_likeliest_tokens_are_asked_for() -> None:
    asked = body(Question("Hello", Sampling(top_logprobs=2)))
    assert (asked["logprobs"], asked["top_logprobs"]) == (True, 2)


EXTRA: dict[str, Any] = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1}


def test_sampling_that_the_api_does_not_know_is_refused_field_by_field() -> None:
    with pytest.raises(TokenwayError, match="INVALID_REQUEST") as refused:
        body(Question("Hello", Sampling(**EXTRA)), extra_sampling=("min_p",))
    assert [each.field for each in refused.value.fields] == [
        "input.sampling.top_k",
        "input.sampling.repetition_penalty",
    ]
    assert "is 5, which this provider does not know: leave it at 0" in refused.value.message


def test_sampling_that_the_configuration_names_is_passed_on() -> None:
    asked = body(Question("Hello", Sampling(**EXTRA)), extra_sampling=tuple(EXTRA))
    assert {name: asked[name] for name in EXTRA} == EXTRA


@pytest.mark.parametrize(
    ("question", "field"),
    [
        (Question("Hello", response_format=Regex("a+")), "input.response_format"),
        (Question("Hello", response_format=Grammar("root ::= 'a'")), "input.response_format"),
        (
            Question(Conversation((Message(Role.USER, (Text("What?"), Image(b"\x89PNG", "image/png"))),))),
            "input.conversation",
        ),
    ],
)
def test_what_providers_cannot_do_is_refused(question: Question, field: str) -> None:
    with pytest.raises(TokenwayError) as refused:
        body(question)
    assert [each.field for each in refused.value.fields] == [field]


def test_the_estimate_grows_with_all_that_is_sent() -> None:
    short = Question("Hello there, how are you?")
    assert estimated_tokens(short) == 7 + 4
    assert estimated_tokens(Question(short.prompt, tools=(Tool("find", "Finds.", "{}"),))) > 11
