"""Who has the most, kept up to date as everybody's number goes up and down by one."""

from __future__ import annotations

from collections import defaultdict


class Largest:
    """Names by their number, which is 0 to begin with. Each call takes the same time, however many names there are."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._names: defaultdict[int, dict[str, None]] = defaultdict(dict)
        self._most = 0

    def change(self, name: str, by: int) -> None:
        """`by` is 1 or -1."""
        before = self._number.pop(name, 0)
        self._names[before].pop(name, None)
        if not self._names[before]:
            del self._names[before]
        after = before + by
        if after:
            self._number[name] = after
            self._names[after][name] = None
        if after > self._most or (before == self._most and before not in self._names):
            self._most = after

    @property
    def name(self) -> str:
        """Of those with the most, one; there must be one."""
        return next(iter(self._names[self._most]))
