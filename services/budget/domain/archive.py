"""Where receipts go that leave the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.budget.domain.limits import Principal
from services.budget.domain.receipt import Receipt


@dataclass(frozen=True, slots=True)
class OldReceipt:
    """A receipt of the ledger, with all that it takes to recompute every sum of money."""

    # Its own among those of its organisation: what is archived twice has the same.
    id: str
    principal: Principal
    receipt: Receipt
    # Minutes since 1970 and the micro-dollars that were booked in them; negative where something was taken back.
    money: tuple[tuple[int, int], ...]


class Archive(Protocol):
    """Keeps receipts for ever, or for as long as its owner likes."""

    async def keep(self, receipts: Sequence[OldReceipt]) -> None:
        """Returns once they are safe whatever dies then; else raises, and they stay in the ledger.

        They are of one organisation, the oldest first. Whoever dies between this and the trimming leaves them in both:
        then they come again, each with the same id.
        """
        ...
