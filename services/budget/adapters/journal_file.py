"""The journal in a file of JSON lines, each on disk before anybody relies on it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from libs.errors import Reason, TokenwayError
from services.budget.adapters.journal_lines import from_json, to_json
from services.budget.domain.arrears import Line
from services.budget.domain.errors import budget_unavailable


class JournalFile:
    """A Journal in one file of a folder, named after the replica's address. Nobody else may have it open."""

    def __init__(self, folder: Path, *, listen: str) -> None:
        """Makes what is not there. BUDGET_UNAVAILABLE: it cannot be written, or another process has it."""
        self._path = folder / f"{re.sub('[^A-Za-z0-9.-]+', '_', listen)}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = _opened(self._path)
            _flush_folder(folder)
        except OSError as error:
            raise TokenwayError(
                Reason.BUDGET_UNAVAILABLE,
                f"what is not booked cannot be kept in {self._path}: {error.strerror}; let services.budget."
                "unbooked_folder be a folder that this replica may write, and that no other of this address uses",
            ) from error
        # Beyond it lies what a crash or a full disk left of a line.
        self._size = 0
        # One thread: what is written has the order in which it was asked for, whoever is cancelled meanwhile.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    def read(self) -> tuple[Line, ...]:
        content = self._path.read_bytes()
        self._size = content.rfind(b"\n") + 1
        return tuple(
            self._line(number, text) for number, text in enumerate(content[: self._size].decode().splitlines(), 1)
        )

    async def append(self, line: Line) -> None:
        await self._on_disk(lambda: self._add(to_json(line)))

    async def rewrite(self, lines: Iterable[Line]) -> None:
        text = "".join(map(to_json, lines))
        await self._on_disk(lambda: self._replace(text))

    def close(self) -> None:
        """What was asked for is written first."""
        self._thread.shutdown()
        os.close(self._file)

    def _line(self, number: int, text: str) -> Line:
        try:
            return from_json(text)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"line {number} of {self._path} cannot be read, so it is not known what was spent: {error!r}; mend the "
                "line, or move the file away and book by hand what it says"
            ) from error

    async def _on_disk(self, write: Callable[[], None]) -> None:
        """Not on the loop: a disk may take its time, and most calls have nothing to do with it."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, write)
        except OSError as error:
            raise budget_unavailable(f"what is not booked cannot be kept: {error.strerror}") from error

    def _add(self, text: str) -> None:
        os.ftruncate(self._file, self._size)
        self._size += _write(self._file, text, self._size)

    def _replace(self, text: str) -> None:
        draft = self._path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        file = _opened(draft)
        try:
            size = _write(file, text, 0)
            draft.rename(self._path)
        except OSError:
            os.close(file)
            raise
        os.close(self._file)
        self._file, self._size = file, size
        _flush_folder(self._path.parent)


def _opened(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def _write(file: int, text: str, at: int) -> int:
    """How many bytes it was; they are on disk."""
    content = text.encode()
    written = 0
    while written < len(content):
        written += os.pwrite(file, content[written:], at + written)
    os.fsync(file)
    return len(content)


def _flush_folder(folder: Path) -> None:
    """So that a name is there after a power cut."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
