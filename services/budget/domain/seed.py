"""What the configuration file says of money and keys: it holds where Redis says nothing yet."""

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


async def sow(seed: Seed, *, ledger: Ledger, keys: KeyStore) -> None:
    """Stores what is not there. A limit or key that was changed or revoked since stays as it is.

    A limit of which the file says another number is a warning of the log: whoever wrote that may count on it.
    """
    there = [each for each in seed.limits if not await ledger.add_limit(*each)]
    for organisation, of_it in groupby(there, key=itemgetter(0)):
        stands = {each.name: each.most for each in await ledger.limits(organisation)}
        for _, limit in of_it:
            if stands.get(limit.name, limit.most) != limit.most:
                _warn(organisation, limit, stands[limit.name])
    await keys.add(seed.keys)


def _warn(organisation: str, limit: Limit, stands: int) -> None:
    structlog.get_logger("seed").warning(
        "a limit of the configuration file is not in force, for Redis has another: `tokenway budget set` changes that",
        organisation=organisation,
        budget=f"{str(limit.account).rstrip(':')} {limit.window} {limit.kind}",
        stands=stands,
        configured=limit.most,
    )
