"""What the configuration file says of money and keys: it holds where Redis says nothing yet; limits also over that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import structlog

from libs.keys import StoredKey
from services.budget.domain.limits import Limit
from services.budget.domain.ports import KeyStore, Ledger


@dataclass(frozen=True, slots=True)
class Seed:
    """Limits by organisation, keys by their SHA-256 in hex."""

    limits: tuple[tuple[str, Limit], ...] = ()
    keys: Mapping[str, StoredKey] = field(default_factory=dict)
    # What was set otherwise since the last start is lost; limits that the seed has not stay.
    overwrites_limits: bool = False


async def sow(seed: Seed, *, ledger: Ledger, keys: KeyStore) -> None:
    """Stores what is not there. A key that was changed or revoked since stays as it is; a limit, unless it is to go."""
    if seed.overwrites_limits:
        for each in seed.limits:
            await ledger.put_limit(*each)
    else:
        await _add_limits(seed, ledger)
    await keys.add(seed.keys)


async def _add_limits(seed: Seed, ledger: Ledger) -> None:
    """One that is there with another number is a warning of the log: whoever wrote the file may count on it."""
    there = [each for each in seed.limits if not await ledger.add_limit(*each)]
    for organisation, of_it in groupby(there, key=itemgetter(0)):
        stands = {each.name: each.most for each in await ledger.limits(organisation)}
        for _, limit in of_it:
            if stands.get(limit.name, limit.most) != limit.most:
                _warn(organisation, limit, stands[limit.name])


def _warn(organisation: str, limit: Limit, stands: int) -> None:
    structlog.get_logger("seed").warning(
        "a limit of the configuration file is not in force, for Redis has another: `tokenway budget set` changes that,"
        " services.budget.sync_limits all of them",
        organisation=organisation,
        budget=f"{str(limit.account).rstrip(':')} {limit.window} {limit.kind}",
        stands=stands,
        configured=limit.most,
    )
