"""How much memory a new process could have: what the machine has free, and what the control group leaves."""

from __future__ import annotations

import re
from pathlib import Path

_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)


def available_bytes(*, meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """None where the kernel does not say."""
    try:
        found = _AVAILABLE.search(meminfo.read_text())
    except OSError:
        return None
    if found is None:
        return None
    machine = int(found[1]) << 10
    left = _left_in_group(group)
    return machine if left is None else min(machine, left)


def _left_in_group(group: Path) -> int | None:
    """None without a limit. Version 2 of control groups: a container sees its own at the root."""
    try:
        limit = (group / "memory.max").read_text().strip()
        used = (group / "memory.current").read_text()
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))
