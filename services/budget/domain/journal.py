"""Where a replica keeps what it could not tell the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from services.budget.domain.arrears import Line


class Journal(Protocol):
    """The lines of one replica, the oldest first. Any call but `read` may raise BUDGET_UNAVAILABLE: it did not happen.

    What a call has written is there after a crash of the process or of its host. A crash in the midst of a call leaves
    the journal as it was before or as it is after. Calls take effect in the order in which they are made. A caller that
    is cancelled does not know whether its call has.
    """

    def read(self) -> tuple[Line, ...]:
        """Everything that was written, to be asked first. A ValueError says which line is none."""
        ...

    async def append(self, line: Line) -> None:
        """Writes one more."""
        ...

    async def rewrite(self, lines: Iterable[Line]) -> None:
        """Writes these in place of everything that was written or asked for before."""
        ...
