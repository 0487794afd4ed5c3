"""The cache's index of questions, in memory and by looking at each."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import replace

from libs.clock import Clock
from services.cache.domain.key import AnswerKey
from services.cache.domain.ports import IndexEntry, Near


class InMemoryIndex:
    """A VectorIndex for tests."""

    def __init__(self, *, max_entries: int, clock: Clock) -> None:
        self._max_entries = max_entries
        self._clock = clock
        self._entries: dict[AnswerKey, IndexEntry] = {}

    def put(self, entry: IndexEntry) -> AnswerKey | None:
        self._entries.pop(entry.key, None)
        self._entries = {each.key: each for each in (*self._entries.values(), entry) if self._lives(each)}
        if len(self._entries) <= self._max_entries:
            return None
        [(largest, _)] = Counter(key.organisation for key in self._entries).most_common(1)
        of_largest = [each for each in self._entries.values() if each.key.organisation == largest]
        evicted = min(of_largest, key=lambda each: each.expires_at).key
        del self._entries[evicted]
        return evicted

    def join(self, key: AnswerKey, family: bytes) -> None:
        if key in self._entries:
            self._entries[key] = replace(self._entries[key], family=family)

    def remove(self, key: AnswerKey) -> None:
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()

    def nearest(self, organisation: str, partition: bytes, vector: bytes, *, limit: int) -> list[Near]:
        within = [
            each
            for each in self._entries.values()
            if (each.key.organisation, each.partition) == (organisation, partition) and self._lives(each)
        ]
        near = (Near(each.key, _cosine(each.vector, vector), each.family or each.own_family) for each in within)
        return sorted(near, key=lambda each: -each.similarity)[:limit]

    def __len__(self) -> int:
        return len(self._entries)

    def _lives(self, entry: IndexEntry) -> bool:
        return entry.expires_at > self._clock.now()


def _cosine(half: bytes, single: bytes) -> float:
    one: tuple[float, ...]
    other: tuple[float, ...]
    one, other = struct.unpack(f"<{len(half) // 2}e", half), struct.unpack(f"<{len(single) // 4}f", single)
    return sum(a * b for a, b in zip(one, other, strict=True))
