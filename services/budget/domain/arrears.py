"""What was spent while the ledger was away, and is not in it yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from libs.money import Usage, UsageSource, cost_micro_usd
from services.budget.domain.lease import Reservation, ReservationId
from services.budget.domain.money import worst_cost_micro_usd
from services.budget.domain.receipt import Outcome, Receipt, Settlement
from services.budget.domain.windows import Window, period

# What a receipt's `why` says of it, after the router's own reason.
BOOKED_LATER = "booked while the ledger was away"

# No organisation sees another's: a reservation's id is unique within its own.
Name = tuple[str, ReservationId]


@dataclass(frozen=True, slots=True)
class AwayTerms:
    """What one replica may spend of an organisation's money unchecked, in a window of the calendar."""

    cap_micro_usd: int
    window: Window


@dataclass(frozen=True, slots=True)
class Arrear:
    """A request that was admitted without the ledger. The worst that it can cost is held until it has ended."""

    reservation: Reservation
    admitted_at_seconds: float
    state: Literal["open", "settled", "expired", "released"] = "open"
    # Its router's word; None while it is open, and where its router never said.
    settlement: Settlement | None = None

    @property
    def id(self) -> ReservationId:
        return self.reservation.id

    @property
    def organisation(self) -> str:
        return self.reservation.principal.organisation

    @property
    def name(self) -> Name:
        return self.organisation, self.id

    @property
    def held_micro_usd(self) -> int:
        asked = self.reservation
        return worst_cost_micro_usd(
            asked.price, input_tokens=asked.max_input_tokens, output_tokens=asked.max_output_tokens
        )

    @property
    def cost_micro_usd(self) -> int:
        """What it takes of the cap: all that is held, until its router says less; never more."""
        if self.state in ("open", "expired"):
            return self.held_micro_usd
        return min(self.held_micro_usd, cost_micro_usd(self.reservation.price, self.usage))

    @property
    def usage(self) -> Usage:
        """All that it may have delivered, until its router says less."""
        if self.state == "released":
            return Usage()
        asked = self.reservation
        worst = Usage(asked.max_input_tokens, 0, asked.max_output_tokens, UsageSource.PRESUMED)
        return worst if self.settlement is None else self.settlement.usage

    @property
    def outcome(self) -> Outcome:
        if self.state == "released":
            return Outcome.RELEASED
        return self.settlement.outcome if self.settlement else Outcome.PRESUMED

    @property
    def why(self) -> str:
        said = self.settlement.why if self.settlement else ""
        return f"{said}; {BOOKED_LATER}" if said else BOOKED_LATER

    def receipt(self, at_seconds: float) -> Receipt:
        """As the ledger will have it."""
        asked = self.reservation
        return Receipt(
            request_id=asked.request_id,
            reservation_id=asked.id,
            key_id=asked.principal.key_id,
            model=asked.model,
            price=asked.price,
            usage=self.usage,
            cost_micro_usd=self.cost_micro_usd,
            outcome=self.outcome,
            why=self.why,
            uncovered_micro_usd=max(0, cost_micro_usd(asked.price, self.usage) - self.cost_micro_usd),
            booked_at_seconds=at_seconds,
        )


@dataclass(frozen=True, slots=True)
class Booked:
    """The ledger has it. Of the cap it stays taken."""

    organisation: str
    id: ReservationId


@dataclass(frozen=True, slots=True)
class Taken:
    """So much of an organisation's cap was taken in that window by what is booked."""

    organisation: str
    window_id: str
    micro_usd: int


# What a journal says: how an arrear stands now, in place of what it said of it before; or what became of it.
Line = Arrear | Booked | Taken


class Arrears:
    """The sum of a journal's lines; of an arrear, any line may come twice."""

    def __init__(self, terms: Mapping[str, AwayTerms]) -> None:
        self._terms = terms
        self._unbooked: dict[Name, Arrear] = {}
        # By organisation and window. What is booked stays in it: a Redis that comes and goes opens the cap only once.
        self._taken: Counter[tuple[str, str]] = Counter()
        self.unbooked_micro_usd = 0

    def apply(self, line: Line) -> None:
        match line:
            case Arrear():
                more = line.cost_micro_usd - self._cost_of(line.name)
                self._taken[self._window(line)] += more
                self.unbooked_micro_usd += more
                self._unbooked[line.name] = line
            case Booked(organisation, id):
                self.unbooked_micro_usd -= self._cost_of((organisation, id))
                self._unbooked.pop((organisation, id), None)
            case Taken(organisation, window_id, micro_usd):
                self._taken[organisation, window_id] += micro_usd

    def of(self, name: Name) -> Arrear | None:
        return self._unbooked.get(name)

    def all(self) -> tuple[Arrear, ...]:
        """In the order in which they were admitted."""
        return tuple(self._unbooked.values())

    def left_micro_usd(self, organisation: str, at_seconds: float) -> int:
        """Of its cap, in the window of that moment."""
        terms = self._terms[organisation]
        return terms.cap_micro_usd - self._taken[organisation, period(terms.window, int(at_seconds)).id]

    def lines(self, at_seconds: float) -> Iterator[Line]:
        """The shortest journal that says the same, at that moment and later."""
        unbooked: Counter[tuple[str, str]] = Counter()
        for each in self._unbooked.values():
            unbooked[self._window(each)] += each.cost_micro_usd
        for (organisation, window_id), micro_usd in self._taken.items():
            terms = self._terms.get(organisation)
            if terms is not None and window_id == period(terms.window, int(at_seconds)).id:
                yield Taken(organisation, window_id, micro_usd - unbooked[organisation, window_id])
        yield from self._unbooked.values()

    def _cost_of(self, name: Name) -> int:
        known = self._unbooked.get(name)
        return known.cost_micro_usd if known else 0

    def _window(self, arrear: Arrear) -> tuple[str, str]:
        terms = self._terms.get(arrear.organisation)
        # An organisation that is no longer open takes of no cap.
        return arrear.organisation, period(terms.window, int(arrear.admitted_at_seconds)).id if terms else ""
