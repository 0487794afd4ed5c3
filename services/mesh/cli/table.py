"""Tables: in rich's clothes on a terminal, in plain aligned columns into a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str | Text]], *, console: Console) -> None:
    """One row a line in a pipe, never wrapped or cut, so that grep and cut see whole rows."""
    if not console.is_terminal:
        for line in _plain(headings, [[str(cell) for cell in row] for row in rows]):
            console.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)
        return
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")  # a path that is cut off is none
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console.print(table)


def _plain(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (headings, *rows))
    return ["  ".join(row).rstrip() for row in padded]
