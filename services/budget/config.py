"""What the budget needs of the configuration file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from libs.keys import StoredKey
from libs.settings import schema
from services.budget.domain.arrears import AwayTerms
from services.budget.domain.lease import LeasePolicy
from services.budget.domain.limits import Account, Kind, Limit, Scope
from services.budget.domain.seed import Seed
from services.budget.domain.windows import Window


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """Where it listens, where its ledger is, and the terms of its leases."""

    listen: str
    redis_url: str = field(repr=False)  # may hold a password
    metrics_listen: str = "127.0.0.1:0"
    drain_seconds: float = 30
    # Over a whole call: a frozen Redis is a refusal within a second.
    redis_timeout_seconds: float = 0.8
    lease: LeasePolicy = field(default_factory=LeasePolicy)
    # For callers that leave it to us.
    first_lease_tokens: int = 256
    sweep_seconds: float = 5
    receipt_days: int = 35
    # None: receipts that leave the ledger are kept nowhere.
    receipts_export_dir: Path | None = None
    seed: Seed = field(default_factory=Seed)
    # By organisation, what this replica may spend while the ledger is away; and where it keeps that.
    away_terms: Mapping[str, AwayTerms] = field(default_factory=dict)
    unbooked_folder: Path | None = None

    @classmethod
    def from_settings(cls, settings: schema.Settings) -> Self:
        """The budget's part of the file."""
        budget = settings.services.budget
        if settings.stores.redis_url == "embedded":
            raise ValueError(
                "stores.redis_url is `embedded`, and only `tokenway up` starts that: set REDIS_URL or stores.redis_url"
                " to a Redis that runs"
            )
        return cls(
            listen=budget.listen,
            redis_url=settings.stores.redis_url,
            metrics_listen=budget.metrics,
            drain_seconds=budget.drain_seconds,
            lease=LeasePolicy(budget.lease_seconds),
            first_lease_tokens=budget.first_lease_tokens,
            sweep_seconds=budget.sweep_seconds,
            receipt_days=budget.receipt_days,
            away_terms={
                each.name: AwayTerms(schema.micro_usd(away.cap_usd) // budget.replicas, Window(away.window))
                for each in settings.organisations
                if (away := each.open_when_away)
            },
            unbooked_folder=Path(budget.unbooked_folder) if budget.unbooked_folder else None,
            receipts_export_dir=Path(budget.receipts_export_dir) if budget.receipts_export_dir else None,
            seed=Seed(
                overwrites_limits=budget.sync_limits,
                limits=tuple(limit for each in settings.organisations for limit in _limits(each)),
                keys={key.sha256: _key(each, key) for each in settings.organisations for key in each.keys},
            ),
        )


def _limits(organisation: schema.Organisation) -> Iterator[tuple[str, Limit]]:
    for budget in organisation.budgets:
        account = Account(Scope(budget.scope), budget.subject or "")
        most = budget.limit or 0 if budget.limit_usd is None else schema.micro_usd(budget.limit_usd)
        yield organisation.name, Limit(account, Window(budget.window), most, Kind(budget.kind), budget.soft)


def _key(organisation: schema.Organisation, key: schema.Key) -> StoredKey:
    return StoredKey(
        key_id=key.id,
        organisation=organisation.name,
        user=key.user or "",
        team=key.team or "",
        role=key.role,
        allowed_models=key.allowed_models,
        expires_at=key.expires_at,
    )
