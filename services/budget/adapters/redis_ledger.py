"""The ledger in Redis: each verb is one call of one script over one organisation's keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from importlib.resources import files
from itertools import chain
from typing import Any

from libs.errors import TokenwayError
from libs.money import Usage
from libs.redis_client import RedisClient
from services.budget.adapters import redis_replies as replies
from services.budget.adapters.redis_calls import RedisCalls, Script
from services.budget.adapters.redis_organisations import RedisOrganisations
from services.budget.adapters.redis_outages import or_unavailable
from services.budget.adapters.redis_receipts import RedisReceipts
from services.budget.domain.arrears import Arrear
from services.budget.domain.errors import reservation_closed, reservation_not_found
from services.budget.domain.lease import Extension, Lease, LeasePolicy, Reservation, ReservationId
from services.budget.domain.limits import Account, BudgetState, Limit, LimitName, Principal
from services.budget.domain.ports import Swept
from services.budget.domain.receipt import Receipt, ReceiptPage, ReceiptQuery, Settlement

# What a script is asked: JSON by name.
Asked = dict[str, Any]
# What every verb's script begins with; lua/organisation.lua explains.
_BEGINNING = (
    *("calendar", "organisation", "days", "sliding", "cost", "amounts", "wanted", "counters", "notes"),
    "reservations",
)
# What comes after it.
_VERBS = {
    "reserve": ("limits", "opening", "reserve"),
    "extend": ("limits", "extend"),
    "settle": ("settling", "settle"),
    "release": ("giving_back", "release"),
    "book": ("limits", "opening", "settling", "giving_back", "book"),
    "usage": ("limits", "usage"),
    "sweep": ("sweep",),
    "put_limit": ("limits", "limit_entries", "put_limit", "usage"),
    "remove_limit": ("limit_entries", "remove_limit"),
}
# The order in which every script expects them. The last never exists: while a slot of a cluster moves key by key, Redis
# so refuses every script on it, instead of running it where some of its counters are and others are not.
_ORGANISATION_KEYS = ("clock", "budgets", "leases", "receipts", "wanted", "requests", "none")
_NOTHING_SWEPT = Swept(0, 0)
# So that nobody waits for one script that looks at thousands; Lua takes no more than 8,000 at all.
_ACCOUNTS_AT_ONCE = 200


class RedisLedger:
    """A Ledger in Redis 7.0 or later, or Valkey; all keys of an organisation share a slot of a cluster.

    `now_ms` stands in for the server's clock, in tests alone. `on_swept` hears of leases that any call found expired.
    """

    def __init__(
        self,
        *,
        redis: RedisClient,
        calls: RedisCalls,
        organisations: RedisOrganisations,
        policy: LeasePolicy,
        timeout_seconds: float,
        on_swept: Callable[[Swept], None] = lambda _: None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._redis = redis
        self._organisations = organisations
        self._lease_terms = {
            "lifetime_ms": int(policy.lifetime_seconds * 1000),
        }
        self._timeout_seconds = timeout_seconds
        self._on_swept = on_swept
        self._now_ms = now_ms
        self._receipts = RedisReceipts(redis=redis, timeout_seconds=timeout_seconds)
        self._calls = calls
        self._scripts = {verb: Script(script(verb)) for verb in _VERBS}

    async def reserve(self, reservation: Reservation) -> Lease:
        organisation = reservation.principal.organisation
        async with or_unavailable(self._timeout_seconds):
            await self._organisations.announce(organisation)
            asked = _asked(reservation) | self._lease_terms
            return replies.lease(await self._call("reserve", organisation, reservation.id, asked))

    async def extend(self, extension: Extension) -> Lease:
        asked = _usage(extension.used) | self._lease_terms
        asked |= {"seq": extension.seq, "want_output": extension.want_output_tokens}
        return replies.lease(await self._call("extend", extension.organisation, extension.id, asked))

    async def settle(self, settlement: Settlement) -> Receipt:
        asked = _usage(settlement.usage) | {"outcome": settlement.outcome, "why": settlement.why}
        values = await self._call("settle", settlement.organisation, settlement.id, asked)
        return replies.receipt(settlement.id, values)

    async def release(self, organisation: str, reservation: ReservationId) -> int:
        (released_micro_usd,) = await self._call("release", organisation, reservation, {})
        return int(released_micro_usd)

    async def book(self, arrear: Arrear) -> Receipt:
        async with or_unavailable(self._timeout_seconds):
            await self._organisations.announce(arrear.organisation)
        settlement = arrear.settlement
        asked = _asked(arrear.reservation) | {
            "late": arrear.why,
            "at_ms": int(arrear.admitted_at_seconds * 1000),
            "settled": _usage(settlement.usage) | {"outcome": settlement.outcome} if settlement else False,
        }
        values = await self._call("book", arrear.organisation, arrear.id, asked)
        return replies.receipt(arrear.id, values)

    async def sweep(self) -> Swept:
        async with or_unavailable(self._timeout_seconds):
            organisations = await self._organisations.announced()
        swept, failed = _NOTHING_SWEPT, None
        for organisation in organisations:
            try:
                swept += await self._sweep_one(organisation)
            except TokenwayError as error:  # its primary is away: those on others need not wait for that
                failed = error
        if failed:
            raise failed
        return swept

    async def usage(self, principal: Principal) -> tuple[BudgetState, ...]:
        return await self._states(principal.organisation, principal.accounts())

    async def put_limit(self, organisation: str, limit: Limit) -> BudgetState:
        _, _, values = await self._run("put_limit", organisation, (), _to_put(limit, absent_only=False))
        return next(each for each in replies.states(values) if each.limit == limit)

    async def add_limit(self, organisation: str, limit: Limit) -> bool:
        _, _, (added,) = await self._run("put_limit", organisation, (), _to_put(limit, absent_only=True))
        return bool(added)

    async def remove_limit(self, organisation: str, name: LimitName) -> bool:
        asked = {"account": str(name.account), "name": replies.limit_name(name)}
        _, _, (removed,) = await self._run("remove_limit", organisation, (), asked)
        return bool(removed)

    async def limits(self, organisation: str) -> tuple[Limit, ...]:
        async with or_unavailable(self._timeout_seconds):
            stored = await self._redis.hgetall(_prefix(organisation) + "budgets")
        return tuple(each for account, packed in stored.items() for each in replies.limits(str(account), str(packed)))

    async def states(self, organisation: str) -> tuple[BudgetState, ...]:
        accounts = list(dict.fromkeys(each.account for each in await self.limits(organisation)))
        found: list[BudgetState] = []
        for first in range(0, len(accounts), _ACCOUNTS_AT_ONCE):
            found += await self._states(organisation, accounts[first : first + _ACCOUNTS_AT_ONCE])
        return tuple(found)

    async def list_receipts(self, query: ReceiptQuery) -> ReceiptPage:
        return await self._receipts.page(query, prefix=_prefix(query.organisation))

    async def _states(self, organisation: str, accounts: Iterable[Account]) -> tuple[BudgetState, ...]:
        _, _, values = await self._run("usage", organisation, (), {"accounts": [str(each) for each in accounts]})
        return tuple(replies.states(values))

    async def _sweep_one(self, organisation: str) -> Swept:
        total = _NOTHING_SWEPT
        while True:
            swept, _, (opened, expired) = await self._run("sweep", organisation, (), {})
            total += swept
            if not opened:
                async with or_unavailable(self._timeout_seconds):
                    await self._organisations.forget(organisation)
            # One step closes only so many. Without progress there is no sense in another.
            if not expired or not swept.leases:
                return total

    async def _call(self, verb: str, organisation: str, reservation: ReservationId, asked: Asked) -> list[Any]:
        """The values of the answer; a refusal raises."""
        named = [reservation, asked.get("replaces")]
        _, status, values = await self._run(
            verb, organisation, (f"reserved:{each}" for each in named if each), asked | {"id": reservation}
        )
        match status:
            case "missing":
                raise reservation_not_found(reservation)
            case "closed":
                raise reservation_closed(reservation, values[0])
            case "exceeded":
                raise replies.refusal(values)
        return values

    async def _run(
        self, verb: str, organisation: str, reservations: Iterable[str], asked: Asked
    ) -> tuple[Swept, str, list[Any]]:
        prefix = _prefix(organisation)
        keys = [prefix + each for each in chain(_ORGANISATION_KEYS, reservations)]
        now = "" if self._now_ms is None else self._now_ms()
        async with or_unavailable(self._timeout_seconds):
            reply = await self._calls.call(self._scripts[verb], keys, [prefix, now, json.dumps(asked)])
        leases, presumed, status, *values = reply
        swept = Swept(leases, presumed)
        if swept.leases:
            self._on_swept(swept)
        return swept, status, values


def script(verb: str) -> str:
    """The text of a verb's script."""
    return "\n".join(map(lua, (*_BEGINNING, *_VERBS[verb])))


def lua(name: str) -> str:
    """The text of one file of a script."""
    return (files("services.budget.adapters") / "lua" / f"{name}.lua").read_text()


def organisation_keys(organisation: str) -> list[str]:
    """Those that every script is told, in its order."""
    return [key_of(organisation, each) for each in _ORGANISATION_KEYS]


def key_of(organisation: str, name: str) -> str:
    """The Redis key of that name of an organisation."""
    return _prefix(organisation) + name


def _prefix(organisation: str) -> str:
    # The braces are a cluster's hash tag.
    return f"tw:{{{organisation}}}:"


def _asked(reservation: Reservation) -> Asked:
    return {
        "request_id": reservation.request_id,
        "key_id": reservation.principal.key_id,
        "user": reservation.principal.user,
        "team": reservation.principal.team,
        "model": reservation.model,
        "price_input": reservation.price.input_micro_usd_per_million_tokens,
        "price_cached": reservation.price.cached_input_micro_usd_per_million_tokens,
        "price_output": reservation.price.output_micro_usd_per_million_tokens,
        "price_version": reservation.price.version,
        "max_input": reservation.max_input_tokens,
        "want_output": reservation.want_output_tokens,
        "max_output": reservation.max_output_tokens,
        "replaces": reservation.replaces or "",
        "accounts": [str(each) for each in reservation.principal.accounts()],
    }


def _to_put(limit: Limit, *, absent_only: bool) -> Asked:
    return {
        "accounts": [str(limit.account)],
        "name": replies.limit_name(limit.name),
        "most": str(limit.most),
        "absent_only": absent_only,
    }


def _usage(usage: Usage) -> Asked:
    return {
        "input": usage.input_tokens,
        "cached": usage.cached_input_tokens,
        "output": usage.output_tokens,
        "source": usage.source,
    }
