"""Who pays in a chaos run: organisations with money for a part of what is asked of them, and one that is rich."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from libs.keys import sha256_of
from libs.money import Price
from libs.settings import schema

# A token of the prompt costs one micro-dollar, one of the answer ten.
PRICE = Price(1_000_000, 1_000_000, 10_000_000, "chaos")
RICH = "rich"
_KEYS = ("one", "two")
_AMPLE = 1_000
Window = Literal["minute", "hour", "day", "month", "total"]
Scope = Literal["key", "user", "team", "organisation"]
_TEAM = "red"


@dataclass(frozen=True, slots=True)
class Payer:
    """A key, and whose it is."""

    organisation: str
    key_id: str

    @property
    def key(self) -> str:
        return f"tw_{self.organisation}-{self.key_id}"

    @property
    def user(self) -> str:
        return f"user-{self.key_id}"

    @property
    def accounts(self) -> frozenset[str]:
        """Everybody whose money it is, as the ledger spells them."""
        return frozenset({f"key:{self.key_id}", f"user:{self.user}", f"team:{_TEAM}", "organisation:"})


def payers(organisation: str) -> tuple[Payer, ...]:
    """The keys of an organisation."""
    return tuple(Payer(organisation, key_id) for key_id in _KEYS)


def tight(count: int) -> tuple[str, ...]:
    """The names of those whose money runs out, in the order in which it is spent."""
    return tuple(f"tight-{number}" for number in range(count))


def tenants(count: int, *, money_micro_usd: int) -> tuple[schema.Organisation, ...]:
    """So many tight organisations, each held by another scope and window in turn; and the rich one."""
    held = (_by_day, _by_a_user, _by_a_team, _by_a_key, _by_month, _by_both_keys)
    poor = (_organisation(name, *held[place % len(held)](money_micro_usd)) for place, name in enumerate(tight(count)))
    return (*poor, _organisation(RICH, _limit("day", _AMPLE * _AMPLE * money_micro_usd)))


def _by_day(money: int) -> tuple[schema.Limit, ...]:
    return _limit("day", money), _limit("hour", _AMPLE * money), _limit("hour", _AMPLE * money, "key", "one")


def _by_a_user(money: int) -> tuple[schema.Limit, ...]:
    # It has money again in each minute of the run.
    return _limit("minute", money // 3, "user", "user-one"), _limit("day", money)


def _by_a_team(money: int) -> tuple[schema.Limit, ...]:
    return _limit("total", money, "team", _TEAM), _limit("total", 2 * money, "key", "two")


def _by_a_key(money: int) -> tuple[schema.Limit, ...]:
    return _limit("hour", money // 2, "key", "one"), _limit("day", _AMPLE * money)


def _by_month(money: int) -> tuple[schema.Limit, ...]:
    return _limit("month", money), _limit("day", 2 * money)


def _by_both_keys(money: int) -> tuple[schema.Limit, ...]:
    keys = (_limit("day", money // 2, "key", each) for each in _KEYS)
    return (*keys, _limit("hour", money * 4 // 5))


def _limit(window: Window, micro_usd: int, scope: Scope = "organisation", subject: str | None = None) -> schema.Limit:
    limit_usd = Decimal(micro_usd) / schema.MICRO_USD_PER_USD
    return schema.Limit(scope=scope, subject=subject, window=window, limit_usd=limit_usd)


def _organisation(name: str, *limits: schema.Limit) -> schema.Organisation:
    keys = tuple(
        schema.Key(id=each.key_id, sha256=sha256_of(each.key), user=each.user, team=_TEAM) for each in payers(name)
    )
    # Nothing is free: an answer from the cache would be.
    return schema.Organisation(name=name, keys=keys, budgets=limits, cache=schema.CachePolicy(enabled=False))
