"""The receipts in Redis, page by page: a stream of all, and an index of whose entries are which request's."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from libs.redis_client import RedisClient
from services.budget.adapters.redis_outages import or_unavailable
from services.budget.adapters.redis_replies import stored_receipt
from services.budget.domain.receipt import ReceiptPage, ReceiptQuery

# The id of an entry, and its fields.
Entry = tuple[str, dict[str, str]]


class RedisReceipts:
    """Reads an organisation's `receipts` and `requests`, which lua/reservations.lua writes and lua/trim.lua trims."""

    def __init__(self, *, redis: RedisClient, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds

    async def page(self, query: ReceiptQuery, *, prefix: str) -> ReceiptPage:
        """`prefix` is what the organisation's keys begin with."""
        entries = await (self._of_request(query, prefix) if query.request_id else self._newest(query, prefix))
        receipts = (stored_receipt(values) for _, values in entries)
        found = tuple(takewhile(lambda each: each.booked_at_seconds >= query.since_seconds, receipts))
        return ReceiptPage(found, entries[-1][0] if len(found) == query.page_size else "")

    async def _newest(self, query: ReceiptQuery, prefix: str) -> list[Entry]:
        before = f"({query.page_token}" if query.page_token else "+"
        async with or_unavailable(self._timeout_seconds):
            found: Any = await self._redis.xrevrange(f"{prefix}receipts", max=before, count=query.page_size)
        return list(found)

    async def _of_request(self, query: ReceiptQuery, prefix: str) -> list[Entry]:
        """A request has few: one an attempt on another model, one more where a late word corrected it."""
        async with or_unavailable(self._timeout_seconds):
            indexed: Any = await self._redis.hget(f"{prefix}requests", query.request_id)
            places = reversed((indexed or "").split())
            older = [each for each in places if not query.page_token or _place(each) < _place(query.page_token)]
            # One that was trimmed a moment ago is not there.
            found: list[Any] = [
                await self._redis.xrange(f"{prefix}receipts", each, each) for each in older[: query.page_size]
            ]
        return [entry for entries in found for entry in entries]


def _place(entry: str) -> tuple[int, ...]:
    return tuple(map(int, entry.split("-")))
