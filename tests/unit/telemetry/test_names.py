"""Our constants are the conventions' where there is one; ours are marked as ours."""

from __future__ import annotations

from importlib import import_module

import pytest

from libs.telemetry import names

CONSTANTS = {name: value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
# The conventions' own module for GenAI is deprecated upstream, which is why the constants are ours.
CONVENTIONS = {
    "GEN_AI_": "opentelemetry.semconv._incubating.attributes.gen_ai_attributes",
    "RPC_": "opentelemetry.semconv._incubating.attributes.rpc_attributes",
    "ERROR_": "opentelemetry.semconv.attributes.error_attributes",
    "SERVICE_": "opentelemetry.semconv._incubating.attributes.service_attributes",
    "SERVER_": "opentelemetry.semconv.attributes.server_attributes",
}


@pytest.mark.parametrize(("prefix", "module"), CONVENTIONS.items())
def test_a_constant_named_as_in_the_conventions_has_their_value(prefix: str, module: str) -> None:
    convention = vars(import_module(module))
    ours = {name: value for name, value in CONSTANTS.items() if name.startswith(prefix)}
    assert ours
    assert ours == {name: convention.get(name) for name in ours}


def test_operations_are_those_of_the_conventions() -> None:
    attributes = import_module(CONVENTIONS["GEN_AI_"])
    known = {each.value for each in attributes.GenAiOperationNameValues}
    assert {names.OPERATION_CHAT, names.OPERATION_EMBEDDINGS, names.OPERATION_TEXT_COMPLETION} <= known


def test_every_other_attribute_says_that_it_is_ours() -> None:
    shared = (*CONVENTIONS, "SPAN_", "EVENT_", "METRIC_", "OPERATION_", "PROVIDER_")
    ours = {name: value for name, value in CONSTANTS.items() if not name.startswith(shared)}
    assert ours
    assert [name for name, value in ours.items() if not value.startswith("tokenway.")] == []


def test_no_two_names_are_the_same() -> None:
    assert len(set(CONSTANTS.values())) == len(CONSTANTS)


def test_the_span_of_an_rpc_is_its_path_without_the_slash() -> None:
    assert names.rpc_span("/a.v1.S/Do") == "a.v1.S/Do"


def test_the_span_of_an_attempt_names_its_model() -> None:
    assert names.chat_span("llama-3-7b") == "chat llama-3-7b"
