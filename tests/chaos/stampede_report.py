"""What came of the waves, in a table and as bars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.bench.measure import Table
from tests.chaos.staleness import Staleness
from tests.chaos.stampede import Wave


class StampedeReport:
    """To be printed."""

    def __init__(self, waves: Sequence[Wave], staleness: Staleness) -> None:
        self.waves, self.staleness = waves, staleness

    @property
    def bars(self) -> dict[str, int]:
        """Each has to be 0."""
        return {
            "stale answers": self.staleness.stale,
            "wrong answers": self.staleness.mixed + sum(each.wrong for each in self.waves),
            "answers cut short that say they are whole": self.staleness.cut + sum(each.cut for each in self.waves),
            "requests that hung": self.staleness.hung + sum(each.hung for each in self.waves),
            "generations too many": sum(each.too_many for each in self.waves),
        }

    @property
    def holds(self) -> bool:
        return not any(self.bars.values())

    def __str__(self) -> str:
        bars = "\n".join(f"{name} {value}" for name, value in self.bars.items())
        return "\n\n".join((str(self._table()), str(self.staleness), bars))

    def _table(self) -> Table:
        kinds = {each.kind.name: each.kind for each in self.waves}
        rows = tuple(
            (name, _most(kind.most_generations), *_row([each for each in self.waves if each.kind is kind]))
            for name, kind in kinds.items()
        )
        columns = ("what happens in mid-answer", "may cost", "generations a wave", "requests by their end")
        return Table("Waves of identical questions", columns, rows)


def _most(generations: int | None) -> str:
    return "any" if generations is None else str(generations)


def _row(waves: Sequence[Wave]) -> tuple[str, str]:
    endings: Counter[str] = sum((each.endings for each in waves), Counter())
    listed = ", ".join(f"{count} {name.removeprefix('FINISH_REASON_')}" for name, count in endings.most_common())
    return ", ".join(str(each.generations) for each in waves), listed
