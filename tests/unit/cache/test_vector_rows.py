"""A partition grows from bytes to blocks and back, and no row is lost, moved wrongly or kept in memory."""

from __future__ import annotations

import math
import random
import struct

import numpy as np
import pytest

from services.cache.adapters.vector_rows import FEW_ROWS, FewRows, ManyRows, resized

DIMENSIONS = 8


def row(number: int) -> bytes:
    """A direction of its own."""
    draw = random.Random(number)
    numbers = [draw.gauss(0, 1) for _ in range(DIMENSIONS)]
    length = math.hypot(*numbers)
    return struct.pack(f"<{DIMENSIONS}e", *(each / length for each in numbers))


@pytest.mark.parametrize("form", [FewRows, ManyRows])
def test_rows_come_back_as_they_were_put_and_the_last_takes_the_place_of_one_taken(
    form: type[FewRows | ManyRows],
) -> None:
    rows = form(dimensions=DIMENSIONS)
    for number in range(5):
        rows.append(row(number))
    rows.take(1)
    assert list(rows) == [row(0), row(4), row(2), row(3)]
    rows.take(3)
    assert (list(rows), len(rows)) == ([row(0), row(4), row(2)], 3)


def test_blocks_hold_what_one_list_would_whatever_is_put_and_taken() -> None:
    rows, plain, draw = ManyRows(dimensions=DIMENSIONS), list[bytes](), random.Random(1)
    for number in range(9_000):
        rows.append(row(number))
        plain.append(row(number))
    while plain:
        position = draw.randrange(len(plain))
        rows.take(position)
        plain[position] = plain[-1]
        plain.pop()
        if len(plain) % 1_500 == 0:
            assert list(rows) == plain


def test_the_nearest_is_found_in_whichever_block_it_is() -> None:
    rows = ManyRows(dimensions=DIMENSIONS)
    for number in range(9_000):
        rows.append(row(number))
    for number in (0, 4_095, 4_096, 8_999):
        query = np.frombuffer(row(number), "<f2").astype(np.float32)
        assert max(rows.nearest(query, 3))[1] == number


def test_the_form_changes_with_the_number_and_keeps_every_row() -> None:
    few, many = FewRows(dimensions=DIMENSIONS), ManyRows(dimensions=DIMENSIONS)
    for number in range(FEW_ROWS):
        assert resized(few, dimensions=DIMENSIONS) is few
        few.append(row(number))
    grown = resized(few, dimensions=DIMENSIONS)
    assert isinstance(grown, ManyRows)
    assert list(grown) == list(few)
    for number in range(FEW_ROWS // 2):
        many.append(row(number))
    assert resized(many, dimensions=DIMENSIONS) is many
    many.take(0)
    shrunk = resized(many, dimensions=DIMENSIONS)
    assert isinstance(shrunk, FewRows)
    assert list(shrunk) == list(many)


def test_a_block_that_was_emptied_gives_its_memory_back() -> None:
    rows = ManyRows(dimensions=DIMENSIONS)
    for number in range(1_000):
        rows.append(row(number))
    for _ in range(900):
        rows.take(0)
    [block] = rows._blocks
    assert block.codes.size() < 250 * 2 * DIMENSIONS
