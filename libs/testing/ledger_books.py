"""The ledger's books as Redis holds them, read without a line of the ledger's code."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import redis

from libs.money import Price, Usage, UsageSource
from libs.redis_cluster import names_cluster, nodes_named
from services.budget.domain.lease import ReservationId
from services.budget.domain.limits import WINDOWS, Account, Kind
from services.budget.domain.receipt import Outcome, Receipt
from services.budget.domain.spend import Spender, Spent
from services.budget.domain.windows import BUCKETS, Window, bucket_seconds, period

# A reservation is packed as only a script can read it.
_UNPACKED = "return cjson.encode(cmsgpack.unpack(redis.call('GET', KEYS[1])))"


class RedisBooks:
    """Reads only."""

    def __init__(self, url: str) -> None:
        # redis-py types a reply as whatever any protocol version could make of it.
        self._redis: Any
        if names_cluster(url):
            self._redis = redis.RedisCluster.from_url(nodes_named(url)[0], decode_responses=True, protocol=2)
        else:
            self._redis = redis.Redis.from_url(url, decode_responses=True, protocol=2)

    def close(self) -> None:
        self._redis.close()

    def counters(self, organisation: str) -> dict[tuple[str, str, str], tuple[int, int]]:
        """Spent and reserved by account, window and the window's id."""
        found = {}
        for key in self._redis.scan_iter(f"tw:{{{organisation}}}:spent:*"):
            _, _, _, window, identity = key.split(":")
            for account, stands in self._redis.hgetall(key).items():
                found[account, window, identity] = _pair(stands)
        return found

    def used_and_reserved(
        self, organisation: str, account: Account, window: Window, at_ms: int, kind: Kind = Kind.MONEY
    ) -> tuple[int, int]:
        """The counter at that moment; of money, of the calendar's window in which it lies."""
        if kind is not Kind.MONEY:
            return _rate(self._redis.hgetall(f"tw:{{{organisation}}}:rate:{account}:{window}:{kind}"), window, at_ms)
        page = f"tw:{{{organisation}}}:spent:{window}:{period(window, at_ms // 1000).id}"
        return _pair(self._redis.hget(page, str(account)) or "0 0")

    def sliding(self, organisation: str) -> Iterator[tuple[int, dict[int, int]]]:
        """Of each sliding counter the sum that is kept, and its buckets."""
        for key in self._redis.scan_iter(f"tw:{{{organisation}}}:rate:*"):
            if key.split(":")[5] != Window.TOTAL:
                counter = self._redis.hgetall(key)
                buckets = {int(name): int(value) for name, value in counter.items() if name.isdecimal()}
                yield int(counter.get("spent", 0)), buckets

    def receipts(self, organisation: str) -> list[Receipt]:
        """The organisation's ledger, oldest first."""
        return [_receipt(entry) for _, entry in self._redis.xrange(f"tw:{{{organisation}}}:receipts")]

    def spent_by_receipts(self, organisation: str) -> dict[tuple[str, str, str], int]:
        """What each counter must have spent, by the receipts and by what open reservations have booked."""
        prefix = f"tw:{{{organisation}}}:"
        entries = [entry for _, entry in self._redis.xrange(prefix + "receipts")]
        opened = (self._redis.eval(_UNPACKED, 1, f"{prefix}reserved:{each}") for each in self.open_leases(organisation))
        entries += map(json.loads, opened)
        spent: Counter[tuple[str, str, str]] = Counter()
        for entry in entries:
            for booking in entry["bookings"].split():
                minute, amount = booking.split("=")
                for window in WINDOWS:
                    for account in _accounts(entry):
                        spent[account, window, period(window, int(minute) * 60).id] += int(amount)
        return dict(spent)

    def spent_by_day(self, organisation: str) -> dict[str, dict[Spender, Spent]]:
        """The sums that are kept of each day, such as 20240229; those of nothing left out."""
        found = {}
        for key in self._redis.scan_iter(f"tw:{{{organisation}}}:days:*"):
            sums = {
                Spender(*field.split("\n")): Spent(*map(int, value.split()))
                for field, value in self._redis.hgetall(key).items()
            }
            found[key.rpartition(":")[2]] = {spender: spent for spender, spent in sums.items() if spent}
        return found

    def open_leases(self, organisation: str) -> list[str]:
        """The reservations that are open, or overdue and not found yet."""
        return list(self._redis.zrange(f"tw:{{{organisation}}}:leases", 0, -1))


def _pair(stands: str) -> tuple[int, int]:
    spent, reserved = stands.split()
    return int(spent), int(reserved)


def _spent_and_reserved(counter: dict[str, str]) -> tuple[int, int]:
    return int(counter.get("spent", 0)), int(counter.get("reserved", 0))


def _rate(counter: dict[str, str], window: Window, at_ms: int) -> tuple[int, int]:
    """By the sum of the buckets that count at that moment, not by the sum that is kept."""
    spent, reserved = _spent_and_reserved(counter)
    if window is not Window.TOTAL:
        first = at_ms // (bucket_seconds(window) * 1000) - BUCKETS
        spent = sum(int(value) for name, value in counter.items() if name.isdecimal() and int(name) >= first)
    return spent, reserved


def _accounts(entry: dict[str, str]) -> Iterator[str]:
    for scope, subject in (("key", entry["key_id"]), ("user", entry["user"]), ("team", entry["team"])):
        if subject:
            yield f"{scope}:{subject}"
    yield "organisation:"


def _receipt(entry: dict[str, str]) -> Receipt:
    number = {name: int(value) for name, value in entry.items() if value.isdecimal()}
    return Receipt(
        request_id=entry["request_id"],
        reservation_id=ReservationId(entry["reservation_id"]),
        key_id=entry["key_id"],
        model=entry["model"],
        price=Price(
            number["price_input"],
            number["price_cached"],
            number["price_output"],
            entry["price_version"],
        ),
        usage=Usage(number["input"], number["cached"], number["output"], UsageSource(entry["source"])),
        cost_micro_usd=number["cost"],
        outcome=Outcome(entry["outcome"]),
        why=entry["why"],
        uncovered_micro_usd=number["uncovered"],
        booked_at_seconds=number["booked_at_ms"] / 1000,
    )
