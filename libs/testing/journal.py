"""The budget's journal in memory."""

from __future__ import annotations

from collections.abc import Iterable

from services.budget.domain.arrears import Line
from services.budget.domain.errors import budget_unavailable


class InMemoryJournal:
    """A Journal without a disk; it keeps what it has when whoever writes it is gone."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.is_full = False

    def read(self) -> tuple[Line, ...]:
        return tuple(self.lines)

    async def append(self, line: Line) -> None:
        self._refuse_if_full()
        self.lines.append(line)

    async def rewrite(self, lines: Iterable[Line]) -> None:
        self._refuse_if_full()
        self.lines = list(lines)

    def _refuse_if_full(self) -> None:
        if self.is_full:
            raise budget_unavailable("what is not booked cannot be kept: no space is left")
