"""The budget's part of the configuration file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from libs.keys import StoredKey
from libs.settings.schema import Settings
from services.budget.config import BudgetConfig
from services.budget.domain.arrears import AwayTerms
from services.budget.domain.lease import LeasePolicy
from services.budget.domain.limits import Account, Kind, Limit, Scope
from services.budget.domain.seed import Seed
from services.budget.domain.windows import Window

MODEL = {
    "name": "small",
    "tier": "small",
    "capabilities": ["all"],
    "context_window_tokens": 4_096,
    "p99_latency_seconds": 1,
    "price": {"input_usd_per_million_tokens": 1, "output_usd_per_million_tokens": 1},
    "endpoints": ["127.0.0.1:50060"],
}


def settings(**fields: Any) -> Settings:
    given = {"models": [MODEL], "organisations": [{"name": "acme"}], "stores": {"redis_url": "redis://db:1"}, **fields}
    return Settings.model_validate(given)


def test_what_the_file_leaves_out_is_the_default() -> None:
    config = BudgetConfig.from_settings(settings())

    assert config == BudgetConfig(listen="127.0.0.1:50053", redis_url="redis://db:1")


def test_every_knob_of_the_file_arrives() -> None:
    budget = {
        "listen": "unix:/run/budget.sock",
        "metrics": "127.0.0.1:9",
        "drain_seconds": 3,
        "lease_seconds": 20,
        "first_lease_tokens": 64,
        "sweep_seconds": 2,
        "receipt_days": 40,
        "receipts_export_dir": "/var/receipts",
        "sync_limits": True,
    }

    config = BudgetConfig.from_settings(settings(services={"budget": budget}))

    assert config == BudgetConfig(
        listen="unix:/run/budget.sock",
        redis_url="redis://db:1",
        metrics_listen="127.0.0.1:9",
        drain_seconds=3,
        lease=LeasePolicy(lifetime_seconds=20),
        first_lease_tokens=64,
        sweep_seconds=2,
        receipt_days=40,
        receipts_export_dir=Path("/var/receipts"),
        seed=Seed(overwrites_limits=True),
    )


def test_budgets_and_keys_of_every_organisation_become_the_seed() -> None:
    key = {
        "id": "ci",
        "sha256": "ab" * 32,
        "user": "ada",
        "team": "compilers",
        "role": "admin",
        "allowed_models": ["small"],
        "expires_at": "2027-01-01T00:00:00Z",
    }
    budgets = [
        {"scope": "organisation", "window": "month", "limit_usd": "12.5"},
        {"scope": "key", "subject": "ci", "window": "hour", "limit_usd": "0.000001"},
        {"scope": "team", "subject": "ops", "window": "minute", "kind": "requests", "limit": 60, "soft": True},
    ]

    seed = BudgetConfig.from_settings(
        settings(organisations=[{"name": "umbrella"}, {"name": "acme", "keys": [key], "budgets": budgets}])
    ).seed

    assert seed.limits == (
        ("acme", Limit(Account(Scope.ORGANISATION), Window.MONTH, 12_500_000)),
        ("acme", Limit(Account(Scope.KEY, "ci"), Window.HOUR, 1)),
        ("acme", Limit(Account(Scope.TEAM, "ops"), Window.MINUTE, 60, Kind.REQUESTS, soft=True)),
    )
    assert seed.keys == {
        "ab" * 32: StoredKey(
            key_id="ci",
            organisation="acme",
            user="ada",
            team="compilers",
            role="admin",
            allowed_models=("small",),
            expires_at=datetime(2027, 1, 1, tzinfo=UTC),
        )
    }


def test_an_embedded_redis_is_somebody_elses_to_start() -> None:
    with pytest.raises(ValueError, match=r"`embedded`.*tokenway up.*REDIS_URL"):
        BudgetConfig.from_settings(settings(stores={"redis_url": "embedded"}))


def test_a_password_is_not_printed() -> None:
    config = BudgetConfig(listen="127.0.0.1:1", redis_url="redis://me:hunter2@db")

    assert "hunter2" not in repr(config)


def test_what_may_be_spent_unchecked_is_divided_among_the_replicas() -> None:
    given = settings(
        services={"budget": {"replicas": 3, "unbooked_folder": "/var/lib/tokenway/unbooked"}},
        organisations=[{"name": "acme", "open_when_away": {"cap_usd": "10", "window": "hour"}}, {"name": "umbrella"}],
    )

    config = BudgetConfig.from_settings(given)

    assert config.away_terms == {"acme": AwayTerms(3_333_333, Window.HOUR)}
    assert config.unbooked_folder == Path("/var/lib/tokenway/unbooked")
