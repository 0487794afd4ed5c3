"""Vectors of one partition as rows of half-precision floats, without holes: the last row moves to where one is taken.

FAISS reads such rows as fast as single precision, from half the memory. But its smallest index takes 2 KB, and most
conversations are alone in their partition: a few rows are looked through by numpy, in an arena that all partitions
share, for pieces of memory of every size leave gaps that nobody fits in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

# A look-up takes numpy 60 µs for one row less, and FAISS 12 for these (`make bench-cache`).
FEW_ROWS = 64
# So much at most is moved at once: 3 MB.
_BLOCK_ROWS = 4_096
# A block that grows or shrinks gets a tenth more than it needs, and has at least this share of it in use.
_SPARE = 1.1
_LEAST_FULL = 0.8
_HALF = np.dtype("<f2")

Query = NDArray[np.float32]


class Arena:
    """Room for so many rows of anybody's. The system gives memory for those alone that were used at some time."""

    def __init__(self, *, dimensions: int, rows: int) -> None:
        self.dimensions = dimensions
        self._rows = np.empty((rows, dimensions), _HALF)
        self._free: list[int] = []
        self._used = 0

    def put(self, vector: bytes) -> int:
        """Where it is now."""
        if self._free:
            place = self._free.pop()
        else:
            place, self._used = self._used, self._used + 1
        self._rows[place] = np.frombuffer(vector, _HALF)
        return place

    def free(self, place: int) -> None:
        self._free.append(place)

    def rows(self, places: list[int]) -> NDArray[np.float16]:
        """Copies, in that order."""
        return self._rows[places]


class FewRows:
    """Rows 0 to len - 1, in the arena."""

    def __init__(self, *, arena: Arena) -> None:
        self._arena = arena
        self._places: list[int] = []

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[bytes]:
        return (row.tobytes() for row in self._arena.rows(self._places))

    def append(self, vector: bytes) -> None:
        self._places.append(self._arena.put(vector))

    def take(self, position: int) -> None:
        """Takes a row out and puts the last one in its place."""
        self._arena.free(self._places[position])
        self._places[position] = self._places[-1]
        self._places.pop()

    def nearest(self, query: Query, limit: int) -> list[tuple[float, int]]:
        """Similarities and positions of the `limit` nearest and maybe of others, in any order."""
        rows = self._arena.rows(self._places).astype(np.float32)
        similarities: list[float] = (rows @ query).tolist()
        return [(similarity, position) for position, similarity in enumerate(similarities)]

    def clear(self) -> None:
        for place in self._places:
            self._arena.free(place)
        self._places.clear()


class ManyRows:
    """Rows 0 to len - 1, in blocks of FAISS; all but the last are full."""

    def __init__(self, *, dimensions: int) -> None:
        self._dimensions = dimensions
        self._blocks: list[_Block] = []

    def __len__(self) -> int:
        return (len(self._blocks) - 1) * _BLOCK_ROWS + len(self._blocks[-1]) if self._blocks else 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            for row in block.rows:
                yield row.tobytes()

    def append(self, vector: bytes) -> None:
        if not self._blocks or len(self._blocks[-1]) == _BLOCK_ROWS:
            self._blocks.append(_Block(dimensions=self._dimensions, room=FEW_ROWS))
        elif len(self._blocks[-1]) == self._blocks[-1].room:
            self._fit_last()
        self._blocks[-1].append(np.frombuffer(vector, _HALF))

    def take(self, position: int) -> None:
        last = self._blocks[-1]
        self._blocks[position // _BLOCK_ROWS].rows[position % _BLOCK_ROWS] = last.rows[-1]
        last.pop()
        if not len(last):
            self._blocks.pop()
        elif len(last) < _LEAST_FULL * last.room:
            self._fit_last()

    def nearest(self, query: Query, limit: int) -> list[tuple[float, int]]:
        """As of few."""
        found: list[tuple[float, int]] = []
        for number, block in enumerate(self._blocks):
            found += block.nearest(query, limit, offset=number * _BLOCK_ROWS)
        return found

    def _fit_last(self) -> None:
        room = min(_BLOCK_ROWS, math.ceil(_SPARE * len(self._blocks[-1])))
        moved = _Block(dimensions=self._dimensions, room=max(room, FEW_ROWS))
        moved.take_over(self._blocks[-1].rows)
        self._blocks[-1] = moved


class _Block:
    """An index of FAISS with room for so many rows. Left to itself it takes twice what it has, and keeps that."""

    def __init__(self, *, dimensions: int, room: int) -> None:
        self.room = room
        self._index: Any = faiss.IndexScalarQuantizer(
            dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        self._index.codes.resize(room * self._index.code_size)
        # Its own memory, in which `ntotal` says how much it looks at. It has no call to take a row out in its place.
        held = faiss.rev_swig_ptr(self._index.codes.data(), room * self._index.code_size)
        self._rows: NDArray[np.float16] = held.view(_HALF).reshape(room, -1)

    def __len__(self) -> int:
        count: int = self._index.ntotal
        return count

    @property
    def rows(self) -> NDArray[np.float16]:
        """To be written to, too."""
        return self._rows[: len(self)]

    def append(self, row: NDArray[np.float16]) -> None:
        self._rows[self._index.ntotal] = row
        self._index.ntotal += 1

    def take_over(self, rows: NDArray[np.float16]) -> None:
        """Into a block that is empty."""
        self._rows[: len(rows)] = rows
        self._index.ntotal = len(rows)

    def pop(self) -> None:
        self._index.ntotal -= 1

    def nearest(self, query: Query, limit: int, *, offset: int) -> Iterator[tuple[float, int]]:
        similarities, positions = self._index.search(query.reshape(1, -1), min(limit, len(self)))
        return zip(similarities[0].tolist(), (positions[0] + offset).tolist(), strict=True)


def resized(rows: FewRows | ManyRows, *, arena: Arena) -> FewRows | ManyRows:
    """The same rows in the form that suits their number; it changes back later than it changed."""
    moved: FewRows | ManyRows
    if isinstance(rows, FewRows) and len(rows) >= FEW_ROWS:
        moved = ManyRows(dimensions=arena.dimensions)
    elif isinstance(rows, ManyRows) and len(rows) < FEW_ROWS // 2:
        moved = FewRows(arena=arena)
    else:
        return rows
    for each in rows:
        moved.append(each)
    if isinstance(rows, FewRows):
        rows.clear()
    return moved
