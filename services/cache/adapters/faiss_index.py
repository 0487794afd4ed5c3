"""The nearest questions, by FAISS: rows by organisation and partition, so that no other's can come up.

A row takes 768 bytes at MiniLM's 384 dimensions, at most twice that where others have gone, and 500 or so of
bookkeeping. All is done on the event loop: 10,000 rows are looked through in 0.2 ms.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import faiss
import numpy as np

from libs.clock import Clock
from services.cache.adapters.largest import Largest
from services.cache.adapters.vector_rows import Arena, FewRows, ManyRows, resized
from services.cache.domain.key import AnswerKey
from services.cache.domain.ports import IndexEntry, Near

_HALF_BYTES = 2
# In a heap, of what was taken out and has not come up: so many and as many as live, then it is made anew.
_IDLE_PLACES = 64
# Takes a few ms. All of a large index at once, after a quiet hour, would keep the event loop for seconds.
_EXPIRED_AT_ONCE = 100


class FaissIndex:
    """A VectorIndex of `max_entries`."""

    def __init__(self, *, dimensions: int, max_entries: int, clock: Clock) -> None:
        # Of the whole process. More threads make one search slower wherever other work runs (0.55 → 6.8 ms at 10,000).
        faiss.omp_set_num_threads(1)
        self._dimensions = dimensions
        self._max_entries = max_entries
        self._clock = clock
        self.clear()

    def __len__(self) -> int:
        return self._entries

    def clear(self) -> None:
        self._organisations: dict[str, _Organisation] = {}
        # One more for the entry that is put before another goes.
        self._arena = Arena(dimensions=self._dimensions, rows=self._max_entries + 1)
        self._largest = Largest()
        # When each organisation has something to expire, at the earliest.
        self._due: list[tuple[float, str]] = []
        self._entries = 0

    def put(self, entry: IndexEntry) -> AnswerKey | None:
        if len(entry.vector) != _HALF_BYTES * self._dimensions:
            raise ValueError(f"a vector of {len(entry.vector)} bytes; it has 2 for each of {self._dimensions} numbers")
        self.remove(entry.key)
        self._expire()
        if entry.expires_at <= self._clock.now():
            return None
        self._add(entry)
        return self._evict() if self._entries > self._max_entries else None

    def join(self, key: AnswerKey, family: bytes) -> None:
        organisation = self._organisations.get(key.organisation)
        row = organisation.rows.get(key.digest) if organisation else None
        if organisation and row:
            row.family = family

    def remove(self, key: AnswerKey) -> None:
        organisation = self._organisations.get(key.organisation)
        row = organisation.rows.get(key.digest) if organisation else None
        if organisation and row:
            self._take(organisation, row)

    def nearest(self, organisation: str, partition: bytes, vector: bytes, *, limit: int) -> list[Near]:
        self._expire()
        of_organisation = self._organisations.get(organisation)
        found = of_organisation.partitions.get(partition) if of_organisation else None
        if found is None:
            return []
        near = sorted(found.vectors.nearest(np.frombuffer(vector, np.float32), limit), reverse=True)[:limit]
        rows, now = ((similarity, found.rows[position]) for similarity, position in near), self._clock.now()
        # Those that have expired and are still to be taken out may leave less room for others: that costs a hit.
        return [
            Near(AnswerKey(organisation, row.digest), similarity, row.family)
            for similarity, row in rows
            if row.expires_at > now
        ]

    def _add(self, entry: IndexEntry) -> None:
        name = entry.key.organisation
        organisation = self._organisations.get(name)
        if organisation is None:
            organisation = self._organisations[name] = _Organisation(name, self._arena)
        soonest = organisation.next_to_expire()
        organisation.add(entry)
        if soonest is None or entry.expires_at < soonest.expires_at:
            self._remember_due(name, entry.expires_at)
        self._largest.change(name, 1)
        self._entries += 1

    def _remember_due(self, name: str, expires_at: float) -> None:
        heappush(self._due, (expires_at, name))
        # Some are of organisations that have since put something sooner, or were gone meanwhile.
        if len(self._due) > 2 * len(self._organisations) + _IDLE_PLACES:
            soonest = ((each.next_to_expire(), each.name) for each in self._organisations.values())
            self._due = [(row.expires_at, each) for row, each in soonest if row]
            heapify(self._due)

    def _take(self, organisation: _Organisation, row: _Row) -> None:
        organisation.take(row)
        if not organisation.rows:
            del self._organisations[organisation.name]
        self._largest.change(organisation.name, -1)
        self._entries -= 1

    def _evict(self) -> AnswerKey | None:
        organisation = self._organisations[self._largest.name]
        row = organisation.next_to_expire()
        if row is None:
            return None  # never: the largest has rows
        self._take(organisation, row)
        return AnswerKey(organisation.name, row.digest)

    def _expire(self) -> None:
        """Some of what has; of much the rest the next times."""
        now, room = self._clock.now(), _EXPIRED_AT_ONCE
        while room and self._due and self._due[0][0] <= now:
            _, name = heappop(self._due)
            organisation = self._organisations.get(name)
            row = organisation.next_to_expire() if organisation else None
            while room and organisation and row and row.expires_at <= now:
                self._take(organisation, row)
                room -= 1
                row = organisation.next_to_expire()
            if row:
                heappush(self._due, (row.expires_at, name))


class _Row:
    """One entry, and where its vector is."""

    __slots__ = ("digest", "expires_at", "family", "partition", "position")

    def __init__(self, entry: IndexEntry, partition: _Partition) -> None:
        self.digest, self.expires_at = entry.key.digest, entry.expires_at
        self.family = entry.family or entry.own_family
        self.partition, self.position = partition, len(partition.rows)


class _Partition:
    """rows[i] is the entry of the vector in row i."""

    __slots__ = ("digest", "rows", "vectors")

    def __init__(self, digest: bytes, arena: Arena) -> None:
        self.digest = digest
        self.rows: list[_Row] = []
        self.vectors: FewRows | ManyRows = FewRows(arena=arena)


class _Organisation:
    """Its entries by key, by partition, and by the time of their expiry."""

    def __init__(self, name: str, arena: Arena) -> None:
        self.name = name
        self.rows: dict[bytes, _Row] = {}
        self.partitions: dict[bytes, _Partition] = {}
        self._arena = arena
        # With what was taken out since, until it comes up or there is too much of it.
        self._by_expiry: list[tuple[float, bytes]] = []

    def add(self, entry: IndexEntry) -> None:
        partition = self.partitions.get(entry.partition)
        if partition is None:
            partition = self.partitions[entry.partition] = _Partition(entry.partition, self._arena)
        row = _Row(entry, partition)
        partition.rows.append(row)
        partition.vectors.append(entry.vector)
        partition.vectors = resized(partition.vectors, arena=self._arena)
        self.rows[row.digest] = row
        heappush(self._by_expiry, (row.expires_at, row.digest))

    def take(self, row: _Row) -> None:
        partition = row.partition
        last = partition.rows.pop()
        if last is not row:
            partition.rows[row.position], last.position = last, row.position
        partition.vectors.take(row.position)
        partition.vectors = resized(partition.vectors, arena=self._arena)
        if not partition.rows:
            del self.partitions[partition.digest]
        del self.rows[row.digest]
        if len(self._by_expiry) > 2 * len(self.rows) + _IDLE_PLACES:
            self._by_expiry = [(each.expires_at, each.digest) for each in self.rows.values()]
            heapify(self._by_expiry)

    def next_to_expire(self) -> _Row | None:
        while self._by_expiry:
            expires_at, digest = self._by_expiry[0]
            row = self.rows.get(digest)
            if row is not None and row.expires_at == expires_at:
                return row
            heappop(self._by_expiry)
        return None
