"""The receipts of the ledger in memory: a list an organisation."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from services.budget.domain.archive import OldReceipt
from services.budget.domain.limits import Principal
from services.budget.domain.receipt import Receipt, ReceiptPage, ReceiptQuery


class InMemoryReceipts:
    """Ids are places that count from the first receipt ever written, so that they hold while it is trimmed."""

    def __init__(self) -> None:
        self._entries: dict[str, list[OldReceipt]] = {}
        self._written: Counter[str] = Counter()

    def write(self, principal: Principal, receipt: Receipt, money: tuple[tuple[int, int], ...]) -> None:
        """Adds one, with what it has booked in which minutes."""
        organisation = principal.organisation
        entry = OldReceipt(f"{self._written[organisation]}-0", principal, receipt, money)
        self._written[organisation] += 1
        self._entries.setdefault(organisation, []).append(entry)

    def amend(self, organisation: str, receipt: Receipt) -> None:
        """Says otherwise what the last one says."""
        entries = self._entries[organisation]
        entries[-1] = replace(entries[-1], receipt=receipt)

    def of(self, organisation: str) -> list[OldReceipt]:
        """The organisation's, oldest first."""
        return list(self._entries.get(organisation, ()))

    def page(self, query: ReceiptQuery) -> ReceiptPage:
        """As `Ledger.list_receipts`; a token is the id of the oldest that was looked at."""
        before = _place(query.page_token) if query.page_token else math.inf
        asked = [
            each
            for each in reversed(self.of(query.organisation))
            if _place(each.id) < before
            and query.request_id in ("", each.receipt.request_id)
            and each.receipt.booked_at_seconds >= query.since_seconds
        ]
        page = asked[: query.page_size]
        full = len(page) == query.page_size
        return ReceiptPage(tuple(each.receipt for each in page), page[-1].id if full else "")

    def organisations(self) -> list[str]:
        """Those that ever had one."""
        return list(self._entries)

    def trim(self, organisation: str, gone: list[OldReceipt]) -> None:
        """Takes these out."""
        self._entries[organisation] = [each for each in self._entries[organisation] if each not in gone]

    def trimmed(self, organisation: str) -> int:
        """How many were taken out."""
        return self._written[organisation] - len(self.of(organisation))


def _place(entry: str) -> int:
    return int(entry.partition("-")[0])
