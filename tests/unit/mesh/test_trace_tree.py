"""Whatever spans arrive, the tree shows each of them once and says which parents are missing."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from libs.telemetry import names
from libs.testing.spans import ended_span
from services.mesh.trace.tree import Node, for_request, forest

Edges = list[tuple[int, int]]


def shape(nodes: list[Node]) -> list[object]:
    """Ids in nested lists: [id, [children…]]."""
    return [[node.span.span_id.lstrip("0"), shape(node.children)] for node in nodes]


def test_children_hang_under_their_parent_in_the_order_in_which_they_began() -> None:
    spans = [
        ended_span("3", parent="1", start_ms=5),
        ended_span("4", parent="2", start_ms=3),
        ended_span("1", duration_ms=10),
        ended_span("2", parent="1", start_ms=1),
    ]
    assert shape(forest(spans)) == [["1", [["2", [["4", []]]], ["3", []]]]]


def test_a_span_whose_parent_did_not_come_is_an_orphan_and_a_root_is_not() -> None:
    trees = forest([ended_span("1"), ended_span("2", parent="9", start_ms=1)])
    assert [(tree.span.span_id[-1], tree.orphan) for tree in trees] == [("1", False), ("2", True)]


def test_spans_that_are_each_other_s_parents_are_shown_all_the_same() -> None:
    trees = forest([ended_span("1", parent="2"), ended_span("2", parent="1", start_ms=1)])
    assert shape(trees) == [["1", [["2", []]]]]
    assert trees[0].orphan


def test_a_span_that_is_its_own_parent_is_shown_once() -> None:
    assert shape(forest([ended_span("1", parent="1")])) == [["1", []]]


def test_a_trace_may_be_deeper_than_the_stack() -> None:
    spans = [ended_span(f"{n:x}", parent=f"{n - 1:x}" if n > 1 else "", start_ms=n) for n in range(1, 5_000)]
    [tree] = forest(spans)
    assert len(list(tree.walk())) == len(spans)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 14)), unique_by=lambda edge: edge[0]), st.randoms())
def test_every_span_is_shown_exactly_once_in_any_order_of_arrival(edges: Edges, chance: random.Random) -> None:
    spans = [ended_span(f"{own:x}", parent=f"{parent:x}" if parent else "", start_ms=own) for own, parent in edges]
    shown = [node.span for tree in forest(spans) for node in tree.walk()]
    assert sorted(span.span_id for span in shown) == sorted(span.span_id for span in spans)
    shuffled = spans.copy()
    chance.shuffle(shuffled)
    assert shape(forest(shuffled)) == shape(forest(spans))


def test_a_tree_of_one_request_stays_whole_with_its_caller_above() -> None:
    spans = [ended_span("1"), ended_span("2", parent="1", attributes={names.REQUEST_ID: "r1"})]
    assert shape(for_request(forest(spans), "r1")) == [["1", [["2", []]]]]


def test_a_trace_of_several_requests_is_cut_to_the_one_asked_for() -> None:
    spans = [
        ended_span("1"),
        ended_span("2", parent="1", start_ms=1, attributes={names.REQUEST_ID: "r1"}),
        ended_span("3", parent="2", start_ms=2),
        ended_span("4", parent="1", start_ms=3, attributes={names.REQUEST_ID: "r2"}),
        ended_span("5", parent="8", start_ms=4, attributes={names.REQUEST_ID: "r2"}),
    ]
    assert shape(for_request(forest(spans), "r1")) == [["2", [["3", []]]]]
    assert shape(for_request(forest(spans), "r2")) == [["4", []], ["5", []]]
