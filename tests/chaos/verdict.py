"""Whether anybody spent more than there was: the evidence held against the limits and against the books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from libs.money import UsageSource
from libs.settings import schema
from services.budget.domain.windows import Window, period
from tests.chaos.books import PRESUMED, Booked, Books, Stand
from tests.chaos.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Spending:
    """Of one limit, in micro-dollars: there are two windows or more if the run went over an edge."""

    limit: schema.Limit
    windows: int
    # What clients have, by their own files.
    delivered_micro_usd: int
    # By the ledger, window by window.
    stands: tuple[Stand, ...]

    @property
    def most_micro_usd(self) -> int:
        """In one window."""
        assert self.limit.limit_usd is not None
        return schema.micro_usd(self.limit.limit_usd)

    @property
    def money_micro_usd(self) -> int:
        """In all windows of the run."""
        return self.windows * self.most_micro_usd

    @property
    def booked_micro_usd(self) -> int:
        return sum(each.spent for each in self.stands)

    @property
    def over_micro_usd(self) -> int:
        """Below 0: what was left."""
        return self.delivered_micro_usd - self.money_micro_usd

    @property
    def share(self) -> float:
        return self.delivered_micro_usd / self.money_micro_usd

    @property
    def passed_micro_usd(self) -> int:
        """By how much the ledger itself is above the limit in its worst window; below 0: what was left."""
        return max((each.spent + each.reserved - self.most_micro_usd for each in self.stands), default=0)


@dataclass(frozen=True)
class Verdict:
    """Money in micro-dollars. `idle` was reserved when the last client had left; the books are of long after."""

    evidence: Evidence
    books: Mapping[str, Books]
    organisations: Sequence[schema.Organisation]
    began_at_seconds: int
    ended_at_seconds: int
    idle_micro_usd: int

    @property
    def overspend(self) -> int:
        """By how much the worst limit was passed by what clients have."""
        return max(0, *(each.over_micro_usd for each in self.spendings))

    @property
    def passed(self) -> int:
        """By how much the worst counter of a window stands above its limit."""
        return max(0, *(each.passed_micro_usd for each in self.spendings))

    @cached_property
    def unpaid(self) -> int:
        """What clients have beyond what was booked for their request."""
        return sum(max(0, cost - self._booked.get(each, 0)) for each, cost in self._delivered.items())

    @property
    def billed_unmade(self) -> int:
        """Tokens on settled receipts that no engine made."""
        billed = (each for each in self._receipts if each.source == UsageSource.ENGINE)
        return sum(max(0, each.output_tokens - self.evidence.made[each.request_id]) for each in billed)

    @property
    def presumed(self) -> int:
        """What was booked for requests whose router never said how they ended."""
        return sum(each.cost_micro_usd for each in self._receipts if each.outcome == PRESUMED)

    @property
    def presumed_undelivered(self) -> int:
        """The part of that which no client got: what a killed router or a lost ledger costs the caller."""
        presumed = {each.request_id for each in self._receipts if each.outcome == PRESUMED}
        return sum(self._booked[each] - self._delivered.get(each, 0) for each in presumed)

    @property
    def reserved(self) -> int:
        """Still, after every lease has run out."""
        return sum(each.reserved for each in self.books.values())

    @property
    def open_leases(self) -> int:
        return sum(each.open_leases for each in self.books.values())

    @property
    def unequal(self) -> int:
        """By how much the counters differ from the ledger."""
        return sum(each.unequal() for each in self.books.values())

    @property
    def delivered_micro_usd(self) -> int:
        return sum(self._delivered.values())

    @property
    def booked_micro_usd(self) -> int:
        return sum(self._booked.values())

    @property
    def bars(self) -> dict[str, int]:
        """What has to be 0."""
        return {
            "overspend": self.overspend,
            "counters above a limit": self.passed,
            "delivered beyond what was booked": self.unpaid,
            "tokens delivered, never made": self.evidence.never_made,
            "tokens billed, never made": self.billed_unmade,
            "reserved after expiry": self.reserved,
            "leases after expiry": self.open_leases,
            "ledger - counters": self.unequal,
        }

    @property
    def holds(self) -> bool:
        return not any(self.bars.values())

    @cached_property
    def spendings(self) -> tuple[Spending, ...]:
        return tuple(self._spending(each, limit) for each in self.organisations for limit in each.budgets)

    def _spending(self, organisation: schema.Organisation, limit: schema.Limit) -> Spending:
        account = f"{limit.scope}:{limit.subject or ''}"
        counters = self.books[organisation.name].counters
        return Spending(
            limit,
            windows=len(self._windows(limit)),
            delivered_micro_usd=self.evidence.delivered_to(organisation.name, account),
            stands=tuple(each for each in counters if (each.account, each.window) == (account, limit.window)),
        )

    def _windows(self, limit: schema.Limit) -> list[str]:
        """The windows that the run has touched: what came in one may have been reserved in the one before."""
        found = [period(Window(limit.window), self.began_at_seconds)]
        while found[-1].end_seconds is not None and found[-1].end_seconds <= self.ended_at_seconds:
            found.append(period(Window(limit.window), found[-1].end_seconds))
        return [each.id for each in found]

    @property
    def _delivered(self) -> Mapping[str, int]:
        return self.evidence.delivered_micro_usd

    @cached_property
    def _booked(self) -> dict[str, int]:
        return {each: cost for books in self.books.values() for each, cost in books.by_request.items()}

    @cached_property
    def _receipts(self) -> tuple[Booked, ...]:
        return tuple(each for books in self.books.values() for each in books.receipts.values())
