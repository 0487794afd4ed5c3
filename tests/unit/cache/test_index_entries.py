"""What replicas read of each other: what was written, or nothing."""

from __future__ import annotations

import struct

import pytest

from services.cache.adapters.index_entries import FIELDS, drop_of, dropped_in, entry_of, fields_of, joined_in
from services.cache.domain.ports import IndexEntry
from tests.contract.answer_stores import in_memory, key
from tests.contract.vector_indexes import DIMENSIONS, half, single

ENCODER = "of the test"
FAMILY = IndexEntry(key("other"), b"", b"", 1.5).own_family


def written() -> dict[str, bytes]:
    return fields_of(key("q"), in_memory().answer(), single("q"), encoder=ENCODER)


def read(fields: dict[str, bytes]) -> IndexEntry | None:
    return entry_of([fields.get(each) for each in FIELDS], encoder=ENCODER, dimensions=DIMENSIONS)


def test_an_entry_is_read_as_it_was_written() -> None:
    answer = in_memory().answer()
    assert read(written()) == IndexEntry(key("q"), answer.partition, half("q"), answer.expires_at)


@pytest.mark.parametrize("field", [each for each in FIELDS if each != "fam"])
def test_an_entry_that_lacks_something_is_none(field: str) -> None:
    assert read({name: value for name, value in written().items() if name != field}) is None


def test_an_entry_has_its_family_and_none_where_that_is_not_one() -> None:
    read_with = [read({**written(), "fam": family}) for family in (FAMILY, b"short", b"")]
    assert [each and each.family for each in read_with] == [FAMILY, b"", b""]


def test_a_change_says_who_joins_whom_or_nothing() -> None:
    joins = {b"tag": b"acme\0" + key("q").digest, b"fam": FAMILY}
    assert joined_in(joins) == (key("q"), FAMILY)
    assert joined_in({**joins, b"tag": b"\xff\0digest"}) is None
    assert joined_in({**joins, b"fam": b"short"}) is None
    assert joined_in({name.encode(): value for name, value in written().items()}) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("enc", b"another"),
        ("exp", b"soon"),
        ("tag", b"\xff\0digest"),
        ("vec", half("q")[:-2]),
        ("vec", struct.pack("<e", float("nan")) + half("q")[2:]),
        ("vec", struct.pack("<e", 60_000) + half("q")[2:]),
        ("vec", bytes(2 * DIMENSIONS)),
    ],
)
def test_neither_is_another_encoder_s_or_one_that_was_damaged(field: str, value: bytes) -> None:
    assert read({**written(), field: value}) is None


def test_a_change_that_nobody_of_us_wrote_drops_nothing() -> None:
    assert dropped_in({b"org": b"\xff", b"gone": key("a").digest}) == []


def test_what_was_dropped_is_read_as_it_was_written() -> None:
    keys = [key("a"), key("b")]
    change = drop_of("acme", [each.digest for each in keys])
    assert dropped_in({name.encode(): value for name, value in change.items()}) == keys
    assert read(change) is None
    assert dropped_in({name.encode(): value for name, value in written().items()}) == []
