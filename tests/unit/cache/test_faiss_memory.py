"""However long questions come and go, the index keeps nothing of those that went. `make bench-cache` weighs it."""

from __future__ import annotations

import random

from services.cache.adapters.faiss_index import FaissIndex
from services.cache.adapters.vector_rows import FewRows, ManyRows
from tests.contract.vector_indexes import TriedIndex, in_faiss

MAX_ENTRIES = 500


def rows_taken(rows: FewRows | ManyRows) -> int:
    return sum(block.room for block in rows._blocks) if isinstance(rows, ManyRows) else len(rows)


def assert_it_keeps_no_more_than_it_holds(index: FaissIndex) -> None:
    organisations = index._organisations.values()
    partitions = [each for organisation in organisations for each in organisation.partitions.values()]
    assert sum(len(each.rows) for each in partitions) == sum(len(each.rows) for each in organisations) == len(index)
    assert len(index) <= MAX_ENTRIES
    # Of 32 rows, which are those of FAISS still, there is room for 64.
    assert sum(rows_taken(each.vectors) for each in partitions) <= 2 * len(index)
    few = sum(len(each.vectors) for each in partitions if isinstance(each.vectors, FewRows))
    assert index._arena._used - len(index._arena._free) == few
    assert index._arena._used <= MAX_ENTRIES + 1
    assert sum(len(each._by_expiry) for each in organisations) <= 2 * len(index) + 64 * len(organisations)
    assert len(index._due) <= 2 * len(organisations) + 65
    assert len(index._largest._number) == len(organisations)
    assert sum(map(len, index._largest._names.values())) == len(organisations)


def faiss_of(tried: TriedIndex) -> FaissIndex:
    assert isinstance(tried.index, FaissIndex)
    return tried.index


def test_an_hour_of_coming_and_going_leaves_nothing_behind() -> None:
    tried, draw = in_faiss(max_entries=MAX_ENTRIES), random.Random(1)
    for second in range(3_600):
        tried.clock.advance(1)
        for each in range(draw.randrange(4)):
            partition = str(draw.choice([second, second // 100, 1]))
            organisation = f"tenant-{draw.randrange(20)}"
            ttl_seconds = 60 * draw.random() + (300 if second % 900 < 300 else 0)
            tried.put(f"{second}/{each}", organisation=organisation, partition=partition, ttl_seconds=ttl_seconds)
        if second % 100 == 0:
            assert_it_keeps_no_more_than_it_holds(faiss_of(tried))
    tried.clock.advance(1_000)
    assert tried.names("anything") == []
    assert len(tried.index) == 0
    assert_it_keeps_no_more_than_it_holds(faiss_of(tried))


def test_a_question_that_is_answered_anew_all_day_takes_the_room_of_one() -> None:
    tried = in_faiss(max_entries=MAX_ENTRIES)
    for _ in range(1_000):
        tried.clock.advance(1)
        tried.put("the same", ttl_seconds=86_400)
    assert_it_keeps_no_more_than_it_holds(faiss_of(tried))
    assert len(tried.index) == 1
