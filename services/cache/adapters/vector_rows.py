"""Vectors of one partition as rows of half-precision floats, without holes: the last row moves to where one is taken.

FAISS reads such rows as fast as single precision, from half the memory. But its smallest index takes 2 KB, and most
conversations are alone in their partition: a few rows are kept as bytes, and looked through by numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

# Numpy needs 43 µs for 64 rows and FAISS 5; for one row 2 and 3.
FEW_ROWS = 64
# So much at most is moved when a block grows, and lies idle after it: 3 MB.
_BLOCK_ROWS = 4_096
_HALF = np.dtype("<f2")

Query = NDArray[np.float32]


class VectorRows(Protocol):
    """Rows 0 to len - 1."""

    def __len__(self) -> int: ...

    def append(self, vector: bytes) -> None:
        """Adds it as the last row."""
        ...

    def take(self, position: int) -> None:
        """Takes a row out and puts the last one in its place."""
        ...

    def nearest(self, query: Query, limit: int) -> list[tuple[float, int]]:
        """Similarities and positions of at least the `limit` nearest, in any order."""
        ...

    def __iter__(self) -> Iterator[bytes]: ...


class FewRows:
    """In one piece of memory."""

    def __init__(self, *, dimensions: int) -> None:
        self._row_bytes = _HALF.itemsize * dimensions
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes) // self._row_bytes

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._bytes), self._row_bytes):
            yield bytes(self._bytes[start : start + self._row_bytes])

    def append(self, vector: bytes) -> None:
        self._bytes += vector

    def take(self, position: int) -> None:
        start = position * self._row_bytes
        self._bytes[start : start + self._row_bytes] = self._bytes[-self._row_bytes :]
        del self._bytes[-self._row_bytes :]

    def nearest(self, query: Query, limit: int) -> list[tuple[float, int]]:
        rows = np.frombuffer(self._bytes, _HALF).reshape(-1, query.size)
        similarities: list[float] = (rows.astype(np.float32) @ query).tolist()
        return [(similarity, position) for position, similarity in enumerate(similarities)]


class ManyRows:
    """In blocks of FAISS; all but the last are full."""

    def __init__(self, *, dimensions: int) -> None:
        self._dimensions = dimensions
        self._blocks: list[Any] = []

    def __len__(self) -> int:
        return (len(self._blocks) - 1) * _BLOCK_ROWS + self._blocks[-1].ntotal if self._blocks else 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            for row in _rows(block):
                yield row.tobytes()

    def append(self, vector: bytes) -> None:
        if not self._blocks or self._blocks[-1].ntotal == _BLOCK_ROWS:
            self._blocks.append(_block(self._dimensions))
        _add(self._blocks[-1], np.frombuffer(vector, _HALF).reshape(1, -1))

    def take(self, position: int) -> None:
        last = self._blocks[-1]
        _rows(self._blocks[position // _BLOCK_ROWS])[position % _BLOCK_ROWS] = _rows(last)[-1]
        # FAISS has no call for it: `remove_ids` looks at every row.
        last.ntotal -= 1
        if last.ntotal == 0:
            self._blocks.pop()
        elif last.ntotal * 2 * last.code_size < last.codes.size():
            # Its memory never shrinks by itself.
            self._blocks[-1] = _block(self._dimensions)
            _add(self._blocks[-1], _rows(last))

    def nearest(self, query: Query, limit: int) -> list[tuple[float, int]]:
        found: list[tuple[float, int]] = []
        for number, block in enumerate(self._blocks):
            similarities, positions = block.search(query.reshape(1, -1), min(limit, block.ntotal))
            offset = number * _BLOCK_ROWS
            found += zip(similarities[0].tolist(), (positions[0] + offset).tolist(), strict=True)
        return found


def resized(rows: VectorRows, *, dimensions: int) -> VectorRows:
    """The same rows in the form that suits their number; it changes back later than it changed."""
    form: type[FewRows | ManyRows]
    if isinstance(rows, FewRows) and len(rows) >= FEW_ROWS:
        form = ManyRows
    elif isinstance(rows, ManyRows) and len(rows) < FEW_ROWS // 2:
        form = FewRows
    else:
        return rows
    moved = form(dimensions=dimensions)
    for each in rows:
        moved.append(each)
    return moved


def _block(dimensions: int) -> Any:
    return faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _add(block: Any, rows: NDArray[np.float16]) -> None:
    block.add(rows.astype(np.float32))


def _rows(block: Any) -> NDArray[np.float16]:
    """The block's own memory: to be written to, and not to be kept beyond the next change."""
    size_bytes = block.ntotal * block.code_size
    rows: NDArray[np.float16] = faiss.rev_swig_ptr(block.codes.data(), size_bytes).view(_HALF).reshape(block.ntotal, -1)
    return rows
