"""The ledger as it lies in Redis: receipts, counters, leases; read beside the service, whose word it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from tests.chaos.tenants import Payer

PRESUMED = "PRESUMED"


@dataclass(frozen=True, slots=True)
class Booked:
    """The last receipt of a reservation: what it came to in the end."""

    request_id: str
    key_id: str
    outcome: str
    source: str
    output_tokens: int
    cost_micro_usd: int


@dataclass(frozen=True, slots=True)
class Stand:
    """Where one account stands in one window; the account as Redis has it, `key:one` or `organisation:`."""

    account: str
    window: str
    window_id: str
    spent: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Books:
    """Of one organisation."""

    organisation: str
    receipts: Mapping[str, Booked]
    counters: tuple[Stand, ...]
    open_leases: int

    @property
    def reserved(self) -> int:
        """What is set aside, in the counter that has most of it."""
        return max((each.reserved for each in self.counters), default=0)

    @property
    def by_request(self) -> Counter[str]:
        """What was booked for each request: a fallback has two reservations."""
        booked: Counter[str] = Counter()
        for each in self.receipts.values():
            booked[each.request_id] += each.cost_micro_usd
        return booked

    def unequal(self) -> int:
        """By how much counters differ from the receipts, all windows of a kind together. No lease is open."""
        in_all: Counter[tuple[str, str]] = Counter()
        for counter in self.counters:
            in_all[counter.account, counter.window] += counter.spent + counter.reserved
        return sum(abs(spent - self._receipts_of(account)) for (account, _), spent in in_all.items())

    def _receipts_of(self, account: str) -> int:
        mine = (each for each in self.receipts.values() if account in Payer(self.organisation, each.key_id).accounts)
        return sum(each.cost_micro_usd for each in mine)


def books(url: str, organisations: Iterable[str]) -> dict[str, Books]:
    """Of each organisation, in one look."""
    with redis.Redis.from_url(url, decode_responses=True, socket_timeout=30) as client:
        return {name: _of(client, name) for name in organisations}


def open_leases(url: str, organisations: Iterable[str]) -> int:
    """Of all of them together; looks at nothing else."""
    with redis.Redis.from_url(url, socket_timeout=30) as client:
        return sum(int(client.zcard(f"tw:{{{name}}}:leases")) for name in organisations)


def now_seconds(url: str) -> int:
    """By the clock that the ledger goes by."""
    with redis.Redis.from_url(url, socket_timeout=30) as client:
        seconds, _ = client.time()
        return int(seconds)


def _of(client: Any, organisation: str) -> Books:
    prefix = f"tw:{{{organisation}}}:"
    entries = client.xrange(prefix + "receipts")
    return Books(
        organisation,
        receipts={fields["reservation_id"]: _booked(fields) for _, fields in entries},
        counters=tuple(each for key in client.scan_iter(prefix + "spent:*") for each in _stands(client, key)),
        open_leases=client.zcard(prefix + "leases"),
    )


def _booked(fields: Mapping[str, str]) -> Booked:
    return Booked(
        fields["request_id"],
        fields["key_id"],
        fields["outcome"],
        fields["source"],
        int(fields["output"]),
        int(fields["cost"]),
    )


def _stands(client: Any, page: str) -> Iterator[Stand]:
    _, window, window_id = page.rsplit(":", 2)
    for account, stands in client.hgetall(page).items():
        spent, reserved = map(int, stands.split())
        yield Stand(account, window, window_id, spent, reserved)
