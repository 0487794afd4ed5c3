"""The sums over the ledger in memory: taken when asked, from all that there ever was."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import date

from libs.money import UsageSource
from libs.testing.held import Held
from libs.testing.ledger import InMemoryLedger, receipt_of
from services.budget.domain.archive import Archive
from services.budget.domain.limits import Kind
from services.budget.domain.receipt import Outcome
from services.budget.domain.spend import Spender, Spent
from services.budget.domain.verification import Finding, Verified
from services.budget.domain.windows import Window, period

_RECEIPT_DAYS = 35


class InMemoryBookkeeper:
    """A Bookkeeper without Redis."""

    def __init__(self, ledger: InMemoryLedger, *, archive: Archive | None = None) -> None:
        self._ledger = ledger
        self._archive = archive

    async def spent_on(self, organisation: str, day: date) -> dict[Spender, Spent]:
        found: dict[Spender, Spent] = {}
        for held in self._ledger.held(organisation):
            if held.receipt:
                asked = held.asked
                spender = Spender(asked.principal.key_id, asked.principal.user, asked.principal.team, asked.model)
                found[spender] = found.get(spender, Spent()) + _spent_by(held, f"{day:%Y%m%d}")
        return {spender: spent for spender, spent in found.items() if spent}

    async def trim(self) -> int:
        return sum([await self._trim_one(each) for each in self._ledger.entries.organisations()])

    async def verify(self, organisation: str) -> AsyncGenerator[Finding]:
        """Its counters are sums: there is nothing that they could differ from."""
        yield Verified(len(self._ledger.entries.of(organisation)), self._ledger.entries.trimmed(organisation), 0, 0)

    async def _trim_one(self, organisation: str) -> int:
        until_seconds = self._ledger.begin(organisation) / 1000 - _RECEIPT_DAYS * 86_400
        old = [
            each for each in self._ledger.entries.of(organisation) if each.receipt.booked_at_seconds <= until_seconds
        ]
        if self._archive and old:
            await self._archive.keep(old)
        self._ledger.entries.trim(organisation, old)
        return len(old)


def _spent_by(held: Held, day: str) -> Spent:
    """What it counts for on that day, now that it is closed."""
    receipt = receipt_of(held)
    money = sum(
        each.amount
        for each in held.bookings
        if each.kind is Kind.MONEY and period(Window.DAY, each.reserved_ms // 1000).id == day
    )
    if period(Window.DAY, held.part_ms // 1000).id != day:
        return Spent(cost_micro_usd=money)
    return Spent(
        int(held.state != "released" or receipt.outcome is Outcome.PRESUMED),
        receipt.usage.input_tokens,
        receipt.usage.cached_input_tokens,
        receipt.usage.output_tokens,
        money,
        held.presumed.get(Kind.MONEY, 0) if receipt.outcome is Outcome.PRESUMED else 0,
        receipt.cost_micro_usd if receipt.usage.source is UsageSource.ESTIMATED else 0,
    )
