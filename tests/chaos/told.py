"""What came of a row of the probe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.bench.measure import Table
from tests.chaos.row import TEN, Row

_COLUMNS = ("max_tokens, client", "asked", "admitted", "whole", "cut", "left", "refused", "overspend", "idle", "tokens")


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a row: clients, tokens, micro-dollars."""

    whole: int
    left: int
    refused: int
    # Let in, and neither whole nor gone by themselves.
    cut: int
    received: int
    billed: int
    made: int
    # Requests that were billed for less than came to the client, or for more than was made.
    misbilled: int
    overspend: int
    unpaid: int
    idle: int
    reserved: int

    @property
    def asked(self) -> int:
        return self.whole + self.left + self.refused + self.cut

    @property
    def admitted(self) -> int:
        return self.asked - self.refused

    def faults(self, row: Row) -> Iterator[str]:
        """What must not be."""
        if self.overspend or self.unpaid or self.reserved:
            yield f"overspend {self.overspend}, unpaid {self.unpaid}, reserved still {self.reserved}"
        if self.cut:
            yield f"{self.cut} were let in and cut short"
        if self.misbilled:
            yield f"{self.misbilled} were billed for less than they got, or for more than was made"
        exactly_ten = row.obeys or (row.asked_factor == 1 and row.leave_after_tokens is None)
        if exactly_ten and self.whole != TEN:
            yield f"{self.whole} whole answers, not {TEN}"


def table(results: Iterable[tuple[Row, Told]]) -> Table:
    """A line a row."""
    rows = tuple(
        (
            row.name,
            *map(str, (each.asked, each.admitted, each.whole, each.cut, each.left, each.refused)),
            f"{each.overspend:,}",
            f"{each.idle:,}",
            f"{each.received} ≤ {each.billed} ≤ {each.made}",
        )
        for row, each in results
    )
    notes = (
        "overspend, and idle when all have ended: micro-dollars, of which a token costs ten",
        "tokens: received ≤ billed ≤ made",
    )
    return Table("A key with money for ten answers", _COLUMNS, rows, notes)
