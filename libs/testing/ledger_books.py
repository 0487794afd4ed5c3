"""The ledger's books as Redis holds them, read without a line of the ledger's code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from libs.money import Price, Usage, UsageSource
from services.budget.domain.lease import ReservationId
from services.budget.domain.limits import Account
from services.budget.domain.receipt import Outcome, Receipt
from services.budget.domain.windows import Window, period


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of one window."""

    account: str
    window: str
    period: str
    spent: int
    reserved: int


class RedisBooks:
    """Reads only."""

    def __init__(self, url: str) -> None:
        # redis-py types a reply as whatever any protocol version could make of it.
        self._redis: Any = redis.Redis.from_url(url, decode_responses=True, protocol=2)

    def close(self) -> None:
        self._redis.close()

    def counters(self, organisation: str) -> list[Counter]:
        """Every counter there is."""
        found = []
        for key in self._redis.scan_iter(f"tw:{{{organisation}}}:spend:*"):
            scope, subject, window, identity = key.split(":", 3)[3].split(":")
            stands = self._redis.hgetall(key)
            spent, reserved = int(stands.get("spent", 0)), int(stands.get("reserved", 0))
            found.append(Counter(f"{scope}:{subject}", window, identity, spent, reserved))
        return found

    def spent_and_reserved(self, organisation: str, account: Account, window: Window, at_ms: int) -> tuple[int, int]:
        """The counter of the window in which that moment lies."""
        key = f"tw:{{{organisation}}}:spend:{account}:{window}:{period(window, at_ms // 1000).id}"
        stands = self._redis.hgetall(key)
        return int(stands.get("spent", 0)), int(stands.get("reserved", 0))

    def receipts(self, organisation: str) -> list[Receipt]:
        """The organisation's ledger, oldest first."""
        return [_receipt(entry) for _, entry in self._redis.xrange(f"tw:{{{organisation}}}:receipts")]

    def booked_by_minute(self, organisation: str) -> dict[tuple[str, int], int]:
        """What all receipts together have booked, by key and minute of the epoch."""
        booked: dict[tuple[str, int], int] = {}
        for _, entry in self._redis.xrange(f"tw:{{{organisation}}}:receipts"):
            for booking in entry["bookings"].split():
                minute, amount = booking.split("=")
                where = entry["key_id"], int(minute)
                booked[where] = booked.get(where, 0) + int(amount)
        return booked

    def open_leases(self, organisation: str) -> list[str]:
        """The reservations that are open, or overdue and not found yet."""
        return list(self._redis.zrange(f"tw:{{{organisation}}}:leases", 0, -1))


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
