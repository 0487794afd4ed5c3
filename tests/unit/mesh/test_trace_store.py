"""The store gives back what it took, once, for as long as it is among the newest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.telemetry import names
from libs.telemetry.span import AttributeValue, EndedSpan, SpanEvent, SpanKind, SpanLink, SpanStatus
from libs.testing.spans import TRACE_ID, ended_span
from services.mesh.trace.store import TraceStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "traces.db"


@pytest.fixture
def store(path: Path) -> Iterator[TraceStore]:
    with TraceStore.create(path) as opened:
        yield opened


def of_request(request_id: str, number: int) -> EndedSpan:
    return ended_span("1", trace_id=f"{number:032x}", attributes={names.REQUEST_ID: request_id})


def test_a_span_comes_back_as_it_went_in(store: TraceStore) -> None:
    attributes: dict[str, AttributeValue] = {"s": "ü", "b": True, "i": 2**40, "f": 0.5, "t": ("a", "b")}
    span = ended_span(
        "a1",
        parent="b2",
        kind=SpanKind.CLIENT,
        status=SpanStatus.ERROR,
        status_message="why",
        attributes=attributes,
        events=(SpanEvent("first_token", 5, {"index": 0}),),
        links=(SpanLink(TRACE_ID, "c3"),),
    )
    store.add([span])
    assert store.of_trace(TRACE_ID) == [span]


def test_a_request_is_found_by_any_of_its_spans(store: TraceStore) -> None:
    child = ended_span("2", parent="1", attributes={names.REQUEST_ID: "req-1"})
    store.add([ended_span("1"), child, of_request("req-2", 7)])
    assert {span.span_id for span in store.of_request("req-1")} == {"1".zfill(16), "2".zfill(16)}


def test_a_request_that_left_two_traces_is_found_in_both(store: TraceStore) -> None:
    store.add([of_request("req-1", 1), of_request("req-1", 2)])
    assert {span.trace_id for span in store.of_request("req-1")} == {f"{1:032x}", f"{2:032x}"}


def test_a_span_that_comes_twice_is_stored_once(store: TraceStore) -> None:
    first = ended_span("1", duration_ms=1)
    store.add([first, first])
    store.add([ended_span("1", duration_ms=9)])
    assert store.of_trace(TRACE_ID) == [first]


def test_unknown_ids_find_nothing(store: TraceStore) -> None:
    assert (store.of_trace("00"), store.of_request("nobody")) == ([], [])


def test_a_trace_id_may_be_given_in_capitals(store: TraceStore) -> None:
    store.add([ended_span("1")])
    assert store.of_trace(TRACE_ID.upper())


def test_only_the_newest_traces_are_kept(path: Path) -> None:
    with TraceStore.create(path, max_traces=3) as store:
        for number in range(10):
            store.add([of_request(f"req-{number}", number)])
        kept = [number for number in range(10) if store.of_request(f"req-{number}")]
    assert kept == [7, 8, 9]


def test_one_batch_may_hold_more_traces_than_are_kept(path: Path) -> None:
    with TraceStore.create(path, max_traces=3) as store:
        store.add([of_request(f"req-{number}", number) for number in range(10)])
        assert [number for number in range(10) if store.of_request(f"req-{number}")] == [7, 8, 9]


def test_a_trace_that_never_ends_is_cut(path: Path) -> None:
    with TraceStore.create(path, max_spans_per_trace=5) as store:
        for number in range(4):
            store.add([ended_span(f"{number}{each}") for each in range(3)])
        assert len(store.of_trace(TRACE_ID)) == 5


def test_a_reader_sees_what_the_writer_adds_while_both_are_open(store: TraceStore, path: Path) -> None:
    with TraceStore.read(path) as reader:
        assert reader.of_trace(TRACE_ID) == []
        store.add([ended_span("1")])
        assert len(reader.of_trace(TRACE_ID)) == 1


def test_traces_outlive_the_writer(path: Path) -> None:
    with TraceStore.create(path) as store:
        store.add([ended_span("1")])
    with TraceStore.read(path) as reader:
        assert len(reader.of_trace(TRACE_ID)) == 1
    with TraceStore.create(path) as again:
        assert len(again.of_trace(TRACE_ID)) == 1


def test_reading_before_anything_was_stored_says_what_to_do(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="start the mesh and send a request first"):
        TraceStore.read(path)


def test_the_folder_is_the_user_s_alone(store: TraceStore, path: Path) -> None:
    assert path.parent.stat().st_mode & 0o077 == 0
