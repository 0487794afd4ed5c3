"""Processes of this machine, read from /proc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process as it was when it was looked at."""

    pid: int
    parent: int
    command: str


def running() -> dict[int, Process]:
    """Every process, zombies apart."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name in parentheses may hold anything, parentheses too.
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # gone meanwhile
            continue
        if state != "Z":
            found[int(folder.name)] = Process(int(folder.name), int(parent), command)
    return found


def descendants(pid: int) -> list[Process]:
    """All below a process, in no order."""
    everything = running()
    below = [each for each in everything.values() if each.parent == pid]
    return below + [deeper for each in below for deeper in descendants(each.pid)]
