"""What the router makes of the configuration file."""

from __future__ import annotations

from pathlib import Path

from libs.settings import schema
from services.router.config import RouterConfig
from services.router.domain.ask import CacheTier
from services.router.domain.guards.policy import Action, Pattern, Pii
from tests.mesh.in_process import organisations, settings


def test_the_others_are_called_where_they_are_reached_and_else_where_they_listen(tmp_path: Path) -> None:
    services = schema.Services(
        cache=schema.Cache(listen="127.0.0.1:1", address="cache:2"), budget=schema.Budget(listen="127.0.0.1:3")
    )
    config = RouterConfig.from_settings(settings(tmp_path, "redis://localhost", services=services))
    assert (config.cache_address, config.budget_address) == ("cache:2", "127.0.0.1:3")


def test_an_organisation_without_guards_has_none(tmp_path: Path) -> None:
    first, second = organisations()
    guards = schema.Guards(
        input=schema.GuardKinds(card="block"),
        output=schema.GuardKinds(email="redact"),
        restore=True,
        patterns=(schema.GuardPattern(name="falcon", regex="falcon", output="redact"),),
    )
    given = (first.model_copy(update={"guards": guards}), second)
    policies = RouterConfig.from_settings(settings(tmp_path, "redis://localhost", organisations=given)).guards
    assert list(policies) == ["acme"]
    policy = policies["acme"]
    assert (policy.input[Pii.CARD], policy.input[Pii.EMAIL]) == (Action.BLOCK, Action.OFF)
    assert (policy.output[Pii.CARD], policy.output[Pii.EMAIL]) == (Action.OFF, Action.REDACT)
    assert policy.patterns == (Pattern("falcon", "falcon", Action.BLOCK, Action.REDACT),)
    assert policy.restore


def test_the_cache_s_tier_is_exact_where_the_file_is_silent(tmp_path: Path) -> None:
    first, second = organisations()
    given = (first.model_copy(update={"cache": schema.CachePolicy(tier="balanced")}), second)
    policies = RouterConfig.from_settings(settings(tmp_path, "redis://localhost", organisations=given)).cache_policies
    assert [each.tier for each in policies.values()] == [CacheTier.BALANCED, CacheTier.EXACT]


def test_cached_input_costs_what_input_costs_where_the_file_is_silent(tmp_path: Path) -> None:
    (model,) = RouterConfig.from_settings(settings(tmp_path, "redis://localhost")).models
    price = model.price
    assert price.cached_input_micro_usd_per_million_tokens == price.input_micro_usd_per_million_tokens == 1_000_000
    assert price.output_micro_usd_per_million_tokens == 10_000_000
