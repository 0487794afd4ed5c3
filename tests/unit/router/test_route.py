"""Which model answers, by the table of tiers."""

from __future__ import annotations

from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from services.router.domain.ask import Requirements
from services.router.domain.principal import Principal
from services.router.domain.route import Plan, require_candidates, route
from tests.unit.router.asks import PRINCIPAL, TIERS, ask


def plan(requirements: Requirements | None = None, *, principal: Principal = PRINCIPAL, **changes: Any) -> Plan:
    wanted = ask(requirements=requirements or Requirements(), **changes)
    return route(wanted, models=TIERS, principal=principal, ready=lambda name: True)


def names(found: Plan) -> list[str]:
    return [each.name for each in found.candidates]


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (Requirements(), ["llama-3-7b", "mixtral-8x7b", "llama-3-70b", "gpt-4-turbo"]),
        (Requirements(capabilities=frozenset({"extraction"})), ["llama-3-7b", "gpt-4-turbo"]),
        (Requirements(capabilities=frozenset({"code_generation"})), ["mixtral-8x7b", "gpt-4-turbo"]),
        (Requirements(capabilities=frozenset({"complex_reasoning", "reasoning"})), ["gpt-4-turbo"]),
        (Requirements(max_latency_seconds=1.5), ["llama-3-7b", "mixtral-8x7b"]),
        (Requirements(max_latency_seconds=1.4999), ["llama-3-7b"]),
        (Requirements(max_cost_micro_usd_per_1k_tokens=2_000), ["llama-3-7b", "mixtral-8x7b"]),
        (Requirements(context_tokens=4_097), ["mixtral-8x7b", "llama-3-70b", "gpt-4-turbo"]),
        (Requirements(context_tokens=32_001), ["gpt-4-turbo"]),
    ],
)
def test_those_that_qualify_come_cheapest_first(requirements: Requirements, expected: list[str]) -> None:
    assert names(plan(requirements)) == expected


def test_a_prompt_that_does_not_fit_goes_to_a_larger_window() -> None:
    assert names(plan(text="word " * 4_000))[0] == "mixtral-8x7b"


def test_none_that_qualifies_is_told_with_every_models_reasons() -> None:
    nothing = plan(Requirements(capabilities=frozenset({"creative_writing"}), max_latency_seconds=1))
    with pytest.raises(TokenwayError) as caught:
        require_candidates(nothing)
    assert caught.value.reason is Reason.NO_MODEL_QUALIFIES
    assert caught.value.metadata == {
        "llama-3-7b": "lacks the capability creative_writing",
        "mixtral-8x7b": "lacks the capability creative_writing; its 99th percentile of 1.5 s exceeds 1 s",
        "llama-3-70b": "its 99th percentile of 3 s exceeds 1 s",
        "gpt-4-turbo": "its 99th percentile of 5 s exceeds 1 s",
    }


def test_what_is_too_dear_is_told_in_dollars() -> None:
    dear = plan(Requirements(max_cost_micro_usd_per_1k_tokens=1))
    assert dear.verdicts[0].reasons[-1].endswith(" per 1,000 tokens, more than $0.000001")
    assert dear.verdicts[0].reasons[-1].startswith("costs $0.")


def test_a_named_model_is_the_only_candidate() -> None:
    found = plan(model="llama-3-70b")
    assert (names(found), found.why) == (["llama-3-70b"], "asked for by name")


def test_a_key_routes_only_to_its_own_models() -> None:
    found = plan(principal=Principal("ci", "acme", allowed_models=frozenset({"llama-3-70b", "gpt-4-turbo"})))
    assert (names(found), found.why) == (["llama-3-70b", "gpt-4-turbo"], "the cheapest of 2 that qualify")


def test_a_model_that_is_not_ready_is_tried_last_and_not_forgotten() -> None:
    found = route(ask(), models=TIERS, principal=PRINCIPAL, ready=lambda name: name != "llama-3-7b")
    assert names(found) == ["mixtral-8x7b", "llama-3-70b", "gpt-4-turbo", "llama-3-7b"]
