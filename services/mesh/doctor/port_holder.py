"""Which process listens on a TCP port of this machine: the kernel knows, in /proc."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"
# Columns of /proc/net/tcp: proc(5).
_LOCAL, _STATE, _INODE = 1, 3, 9


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, and how it was started."""

    pid: int
    command: str

    @property
    def program(self) -> str:
        """What may be told of it: arguments hold secrets at times."""
        return Path(self.command.partition(" ")[0]).name


def holder_of(port: int, *, proc: Path = Path("/proc")) -> Holder | None:
    """None where it belongs to another user, whose files the kernel does not show, or to no process."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    for process in proc.glob("[0-9]*"):
        if any(each in sockets for each in _open_files(process)):
            return Holder(int(process.name), _command(process))
    return None


def _listening(port: int, proc: Path) -> Iterator[str]:
    for table in (proc / "net" / "tcp", proc / "net" / "tcp6"):
        try:
            rows = [line.split() for line in table.read_text().splitlines()[1:]]
        except OSError:  # no IPv6 here
            continue
        for row in rows:
            if row[_STATE] == _LISTEN and int(row[_LOCAL].rpartition(":")[2], 16) == port:
                yield row[_INODE]


def _open_files(process: Path) -> Iterator[str]:
    try:
        for link in (process / "fd").iterdir():
            yield str(link.readlink())
    except OSError:  # another user's, or gone meanwhile
        return


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
