"""What is kept of the ledger beside its receipts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import date
from typing import Protocol

from services.budget.domain.spend import Spender, SpendQuery, SpendRow, Spent, summed
from services.budget.domain.verification import Finding


class Bookkeeper(Protocol):
    """Sums over receipts. Any call may raise BUDGET_UNAVAILABLE.

    A receipt's money counts on the day (UTC) on which it was booked, its tokens and the request on the day on which its
    last lease was given; a later correction on those days as well. What open requests have booked is not in it.
    """

    async def spent_on(self, organisation: str, day: date) -> Mapping[Spender, Spent]:
        """What was booked on that day, to the last receipt; nothing of a day that is more than 400 days over."""
        ...

    async def trim(self) -> int:
        """Takes receipts that are older than the ledger keeps them out of it, of every organisation.

        Where there is an archive, none before the archive has it; what that raises is raised, and the receipts stay. In
        small steps, each of which adds them to a checkpoint at once: so checkpoint, receipts and what open reservations
        have booked always add up to the counters, whoever dies. Says how many.
        """
        ...

    def verify(self, organisation: str) -> AsyncGenerator[Finding]:
        """Holds every counter and every day's sums against ledger, checkpoint and open reservations.

        What is used of rates and of money by the minute is told as far as the ledger's receipts reach back, for the
        checkpoint has it not. Changes nothing, and may be asked while requests go on: each is compared at one instant.
        Progress now and then; at the end every Difference, then one Verified.
        """
        ...


async def spend(query: SpendQuery, bookkeeper: Bookkeeper) -> tuple[SpendRow, ...]:
    """The rows that are asked for."""
    booked = [
        (day, spender, spent)
        for day in query.days()
        for spender, spent in (await bookkeeper.spent_on(query.organisation, day)).items()
    ]
    return summed(booked, query.by)
