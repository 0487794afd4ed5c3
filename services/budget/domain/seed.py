"""What the configuration file says of money and keys: it holds where Redis says nothing yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.keys import StoredKey
from services.budget.domain.limits import Limit
from services.budget.domain.ports import KeyStore, Ledger


@dataclass(frozen=True, slots=True)
class Seed:
    """Limits by organisation, keys by their SHA-256 in hex."""

    limits: tuple[tuple[str, Limit], ...] = ()
    keys: Mapping[str, StoredKey] = field(default_factory=dict)


async def sow(seed: Seed, *, ledger: Ledger, keys: KeyStore) -> None:
    """Stores what is not there. A limit or key that was changed or revoked since stays as it is."""
    for organisation, limit in seed.limits:
        await ledger.add_limit(organisation, limit)
    await keys.add(seed.keys)
