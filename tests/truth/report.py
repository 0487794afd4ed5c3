"""What came of it, a line an ending, and the shares."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.measure import Table
from tests.truth.book import Book, Tally
from tests.truth.endings import ENDINGS

GOAL_PERCENT = 99.9
_COLUMNS = ("ending", "requests", "whole", "lost in a killed process", "wrong", "share %")


class Report:
    """Of a book whose requests are all judged."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._tallies = {name: book.tallies[name] for name in (*ENDINGS, *sorted(book.tallies.keys() - ENDINGS.keys()))}

    @property
    def requests(self) -> int:
        return sum(each.requests for each in self._tallies.values())

    def requests_of(self, ending: str) -> int:
        return self._tallies[ending].requests

    @property
    def strays(self) -> int:
        return sum(len(each.strays) for each in self._tallies.values())

    @property
    def share_percent(self) -> float:
        """Of requests whose trace is true, but for what a killed process lost in its last second."""
        return self._percent(sum(each.whole + each.lost for each in self._tallies.values()) - self.strays)

    @property
    def strict_share_percent(self) -> float:
        """The same, where what a killed process lost is counted as a failure too."""
        return self._percent(sum(each.whole for each in self._tallies.values()) - self.strays)

    @property
    def faults(self) -> list[str]:
        """What was wrong, the most frequent first within an ending."""
        return [line for name, tally in self._tallies.items() for line in _faults(name, tally)]

    def __str__(self) -> str:
        rows = tuple(_row(name, tally) for name, tally in self._tallies.items())
        shares = (
            f"{self.requests:,} requests, {self._book.spans:,} spans",
            f"true: {self.share_percent:.3f} % (goal {GOAL_PERCENT} %), if a killed process may lose its last second",
            f"true: {self.strict_share_percent:.3f} %, if all that it lost is wrong",
        )
        wrong = self.faults or ("  nothing was wrong",)
        return "\n\n".join((str(Table("Traces", _COLUMNS, rows)), "\n".join(wrong), "\n".join(shares)))

    def _percent(self, requests: int) -> float:
        return 100 * max(0, requests) / self.requests if self.requests else 0.0


def _row(name: str, tally: Tally) -> tuple[str, ...]:
    share = f"{100 * (tally.whole + tally.lost) / tally.requests:.2f}" if tally.requests else "–"
    return name, *(f"{each:,}" for each in (tally.requests, tally.whole, tally.lost, tally.wrong)), share


def _faults(name: str, tally: Tally) -> Iterator[str]:
    for text, count in tally.faults.most_common():
        yield f"  {name}: {count} × {text}, for example trace {tally.examples[text]}"
    yield from tally.trees.values()
