"""Every implementation of the VectorIndex port, with a clock that the test owns; and entries to put in."""

from __future__ import annotations

import hashlib
import math
import random
import struct
from dataclasses import dataclass

from libs.testing.clock import ManualClock
from libs.testing.vector_index import InMemoryIndex
from services.cache.adapters.faiss_index import FaissIndex
from services.cache.domain.key import AnswerKey
from services.cache.domain.ports import IndexEntry, VectorIndex

# FAISS reads eight numbers at a time and ends a row otherwise: here it does both.
DIMENSIONS = 12
TOLERANCE = 0.001


@dataclass(frozen=True, slots=True)
class TriedIndex:
    """An index under test."""

    index: VectorIndex
    clock: ManualClock

    def entry(
        self, name: str, *, organisation: str = "acme", partition: str = "p", asked: str = "", ttl_seconds: float = 60
    ) -> IndexEntry:
        """One whose vector is that of `asked`, or of its name."""
        where = hashlib.sha256(partition.encode()).digest()
        return IndexEntry(key(name, organisation), where, half(asked or name), self.clock.now() + ttl_seconds)

    def put(self, name: str, **given: object) -> AnswerKey | None:
        return self.index.put(self.entry(name, **given))  # type: ignore[arg-type] # the entry's own checks them

    def names(self, asked: str, *, organisation: str = "acme", partition: str = "p", limit: int = 10) -> list[str]:
        """What is found near it, nearest first."""
        where = hashlib.sha256(partition.encode()).digest()
        near = self.index.nearest(organisation, where, single(asked), limit=limit)
        assert all(each.key.organisation == organisation for each in near)
        return [each.key.digest.rstrip(b"\0").decode() for each in near]

    def family(self, name: str, *, asked: str = "") -> bytes:
        """To which the nearest to `asked`, or to the name, belongs."""
        [near] = self.index.nearest("acme", self.entry(name).partition, single(asked or name), limit=1)
        assert near.key == key(name)
        return near.family


def key(name: str, organisation: str = "acme") -> AnswerKey:
    """A key that tells its name."""
    return AnswerKey(organisation, name.encode().ljust(32, b"\0"))


def vector(name: str) -> list[float]:
    """A direction by a name; "a~0.9" is one whose cosine with a's is 0.9."""
    of, _, cosine = name.partition("~")
    own = _unit(random.Random(of))
    if not cosine:
        return own
    other = _unit(random.Random(name))
    overlap = sum(a * b for a, b in zip(own, other, strict=True))
    across = _scaled([b - overlap * a for a, b in zip(own, other, strict=True)])
    share = float(cosine)
    return [share * a + math.sqrt(1 - share**2) * b for a, b in zip(own, across, strict=True)]


def half(name: str) -> bytes:
    return struct.pack(f"<{DIMENSIONS}e", *vector(name))


def single(name: str) -> bytes:
    return struct.pack(f"<{DIMENSIONS}f", *vector(name))


def in_memory(*, max_entries: int = 1_000) -> TriedIndex:
    clock = ManualClock()
    return TriedIndex(InMemoryIndex(max_entries=max_entries, clock=clock), clock)


def in_faiss(*, max_entries: int = 1_000) -> TriedIndex:
    clock = ManualClock()
    return TriedIndex(FaissIndex(dimensions=DIMENSIONS, max_entries=max_entries, clock=clock), clock)


def _unit(draw: random.Random) -> list[float]:
    return _scaled([draw.gauss(0, 1) for _ in range(DIMENSIONS)])


def _scaled(numbers: list[float]) -> list[float]:
    length = math.sqrt(sum(each**2 for each in numbers))
    return [each / length for each in numbers]
