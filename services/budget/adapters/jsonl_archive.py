"""Old receipts in files: a file an organisation and month, a line a receipt."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from services.budget.domain.archive import OldReceipt


class JsonlArchive:
    """Appends to FOLDER/ORGANISATION-YYYY-MM.jsonl, by the month (UTC) in which a receipt was booked.

    Lines are whole or last: one that a lost machine broke off is followed by a new line, and comes again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, receipts: Sequence[OldReceipt]) -> None:
        """OSError: the folder cannot be written."""
        await asyncio.to_thread(self._keep, receipts)

    def _keep(self, receipts: Sequence[OldReceipt]) -> None:
        # Who spent how much is nobody else's business.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, of_month in groupby(receipts, _file_name):
            _append(self._folder / name, "".join(_lines(of_month)).encode())
        _sync(self._folder)


def _append(path: Path, lines: bytes) -> None:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        _write(file, b"\n" + lines if torn else lines)
        os.fsync(file)
    finally:
        os.close(file)


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _sync(folder: Path) -> None:
    """A file that is new is safe when its name is."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _file_name(old: OldReceipt) -> str:
    # An organisation's name is letters, digits, '.', '_' and '-', so that it is a file's too.
    return f"{old.principal.organisation}-{_moment(old.receipt.booked_at_seconds):%Y-%m}.jsonl"


def _lines(receipts: Iterator[OldReceipt]) -> Iterator[str]:
    return (json.dumps(_line(each), separators=(",", ":")) + "\n" for each in receipts)


def _line(old: OldReceipt) -> dict[str, Any]:
    fields = asdict(old.receipt)
    del fields["booked_at_seconds"]
    return {
        "id": old.id,
        **asdict(old.principal),
        **fields,
        "booked_at": _moment(old.receipt.booked_at_seconds).isoformat(timespec="milliseconds"),
        "money": [
            {"minute": _moment(minute * 60).isoformat(timespec="minutes"), "micro_usd": booked}
            for minute, booked in old.money
        ],
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
