"""A partition grows from bytes to blocks and back, and no row is lost, moved wrongly or kept in memory."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable

import numpy as np
import pytest

from services.cache.adapters.vector_rows import FEW_ROWS, Arena, FewRows, ManyRows, resized

DIMENSIONS = 8


def row(number: int) -> bytes:
    """A direction of its own."""
    draw = random.Random(number)
    numbers = [draw.gauss(0, 1) for _ in range(DIMENSIONS)]
    length = math.hypot(*numbers)
    return struct.pack(f"<{DIMENSIONS}e", *(each / length for each in numbers))


def few() -> FewRows:
    return FewRows(arena=Arena(dimensions=DIMENSIONS, rows=100))


def many() -> ManyRows:
    return ManyRows(dimensions=DIMENSIONS)


@pytest.mark.parametrize("form", [few, many])
def test_rows_come_back_as_they_were_put_and_the_last_takes_the_place_of_one_taken(
    form: Callable[[], FewRows | ManyRows],
) -> None:
    rows = form()
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
    arena = Arena(dimensions=DIMENSIONS, rows=FEW_ROWS)
    small, large = FewRows(arena=arena), many()
    for number in range(FEW_ROWS):
        assert resized(small, arena=arena) is small
        small.append(row(number))
    wanted, grown = list(small), resized(small, arena=arena)
    assert isinstance(grown, ManyRows)
    assert list(grown) == wanted
    for number in range(FEW_ROWS // 2):
        large.append(row(number))
    assert resized(large, arena=arena) is large
    large.take(0)
    # In the room that the others have left.
    shrunk = resized(large, arena=arena)
    assert isinstance(shrunk, FewRows)
    assert list(shrunk) == list(large)


def test_who_shares_the_arena_keeps_its_own_rows_and_takes_over_what_others_leave() -> None:
    arena = Arena(dimensions=DIMENSIONS, rows=4)
    one, other = FewRows(arena=arena), FewRows(arena=arena)
    for number in range(2):
        one.append(row(number))
        other.append(row(10 + number))
    one.take(0)
    other.append(row(12))
    one.take(0)
    other.append(row(13))
    assert list(one) == []
    assert list(other) == [row(number) for number in (10, 11, 12, 13)]


def test_there_is_never_much_more_room_than_rows_however_they_come_and_go() -> None:
    rows, draw = ManyRows(dimensions=DIMENSIONS), random.Random(1)
    for target in (5_000, 900, 1_100, 100, 4_096, 70):
        while len(rows) != target:
            # Two steps forward and one back: what is put in between must not hide what was taken.
            for grows in (len(rows) < target, len(rows) < target, draw.random() < 0.5):
                rows.append(row(1)) if grows or not len(rows) else rows.take(draw.randrange(len(rows)))
                room = sum(block.room for block in rows._blocks)
                assert len(rows) <= room <= max(1.3 * len(rows), FEW_ROWS + 4_096 * (len(rows) // 4_096))
                if len(rows) == target:
                    break
