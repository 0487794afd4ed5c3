"""What a verdict says, in words and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.bench.measure import Table
from tests.chaos.verdict import Spending, Verdict


class Report:
    """To be printed."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict, self._evidence = verdict, verdict.evidence

    def __str__(self) -> str:
        return "\n\n".join((str(self._limits()), str(self._endings()), "\n".join(self._figures())))

    def _limits(self) -> Table:
        """The worst of each scope and window."""
        spendings = sorted(self._verdict.spendings, key=lambda each: each.share)
        count = Counter(map(_kind, spendings))
        worst = {_kind(each): each for each in spendings}
        rows = tuple((kind, f"{count[kind]}", *_row(each)) for kind, each in sorted(worst.items()))
        columns = ("limits", "how many", "money there was", "booked", "delivered", "overspend")
        return Table("Micro-dollars, of each scope and window the limit that clients came nearest to", columns, rows)

    def _endings(self) -> Table:
        rows = tuple((ending, f"{count:,}") for ending, count in self._evidence.endings.most_common())
        return Table("Requests by ending", ("ending", "requests"), (*rows, ("all", f"{len(self._evidence.asked):,}")))

    def _figures(self) -> Iterator[str]:
        verdict, evidence = self._verdict, self._evidence
        for name, value in verdict.bars.items():
            yield f"{name} {value:,}"
        yield f"presumed {verdict.presumed:,} micro-dollars, {verdict.presumed_undelivered:,} of it came to no client"
        yield f"delivered {verdict.delivered_micro_usd:,} micro-dollars, booked {verdict.booked_micro_usd:,}"
        yield f"discarded {evidence.discarded:,} tokens of {evidence.made.total():,} that were made"
        yield f"answered at once, at most: {evidence.at_once:,} requests"
        yield f"idle when the last client had left {verdict.idle_micro_usd:,} micro-dollars"


def _kind(spending: Spending) -> str:
    return f"{spending.limit.scope} × {spending.limit.window}"


def _row(each: Spending) -> tuple[str, ...]:
    over = max(0, each.over_micro_usd)
    return tuple(
        f"{value:,}" for value in (each.money_micro_usd, each.booked_micro_usd, each.delivered_micro_usd, over)
    )
