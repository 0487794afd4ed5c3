"""A child's log: kept in a file, its end shown when the child fails."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import BinaryIO

_TAIL_BYTES = 16 << 10
_LONGEST_LINE = 500
_LINES_SEARCHED = 50
_PRINTED = "stdout: "


def opened(path: Path) -> BinaryIO:
    """An empty log; the one of the run before is kept beside it."""
    if path.exists():
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab", buffering=0)


def last_lines(path: Path, count: int) -> tuple[str, ...]:
    """The end of a log, without empty lines; nothing where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(line.rstrip()[:_LONGEST_LINE] for line in lines if line.strip())[-count:]


def printed(line: bytes) -> bytes:
    """A line of standard output as it goes into the log: marked, since it may come after later ones of the other."""
    return _PRINTED.encode() + line


def last_words(path: Path) -> str:
    """The last line of standard error, if it is for people: a service says there why it ended, if it has time to."""
    lines = [line for line in last_lines(path, _LINES_SEARCHED) if not line.startswith(_PRINTED)]
    return lines[-1].strip() if lines and not _is_record(lines[-1]) else ""


def _is_record(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
