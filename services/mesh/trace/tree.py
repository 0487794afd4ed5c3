"""From a heap of spans to their tree. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from libs.telemetry import names
from libs.telemetry.span import EndedSpan


@dataclass(slots=True)
class Node:
    """A span, and those that it caused, in the order in which they began.

    An orphan names a parent that is not here: it did not come (its process was killed, say), or it is a caller's that
    keeps its spans elsewhere.
    """

    span: EndedSpan
    orphan: bool = False
    children: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """This node and all below it, parents first. No recursion: a trace may be deeper than Python's stack."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    @property
    def request_id(self) -> str:
        """The request that the span says it belongs to; may be empty."""
        return str(self.span.attributes.get(names.REQUEST_ID, ""))


def forest(spans: Sequence[EndedSpan]) -> list[Node]:
    """Every span once, whatever the spans say of their parents: roots and orphans first, each with what is below."""
    nodes = {span.span_id: Node(span) for span in sorted(spans, key=_began)}
    below: dict[str, list[Node]] = defaultdict(list)
    tops = []
    for node in nodes.values():
        if node.span.parent_span_id in nodes:
            below[node.span.parent_span_id].append(node)
        else:
            node.orphan = bool(node.span.parent_span_id)
            tops.append(node)
    placed: set[str] = set()
    for top in tops:
        _place(top, below, placed)
    # Spans that are each other's parents hang below no top. A broken sender should not hide them.
    for node in nodes.values():
        if node.span.span_id not in placed:
            node.orphan = True
            tops.append(node)
            _place(node, below, placed)
    return tops


def for_request(trees: Sequence[Node], request_id: str) -> list[Node]:
    """What belongs to one request, out of a trace in which its caller may have made many.

    A tree that names no other request stays whole, with the caller's spans above; else it is cut to the topmost spans
    that name this one.
    """
    kept = []
    for tree in trees:
        named = {node.request_id for node in tree.walk()} - {""}
        if named == {request_id}:
            kept.append(tree)
        elif request_id in named:
            kept.extend(_topmost(tree, request_id))
    return kept


def _place(top: Node, below: dict[str, list[Node]], placed: set[str]) -> None:
    """Hangs each node's children on it, each node once: that breaks every circle."""
    waiting = [top]
    placed.add(top.span.span_id)
    while waiting:
        node = waiting.pop()
        node.children = [child for child in below[node.span.span_id] if child.span.span_id not in placed]
        placed.update(child.span.span_id for child in node.children)
        waiting.extend(node.children)


def _topmost(tree: Node, request_id: str) -> Iterator[Node]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if node.request_id == request_id:
            yield node
        else:
            waiting.extend(reversed(node.children))


def _began(span: EndedSpan) -> tuple[int, int]:
    # Of spans that begin at the same moment, the longer one is likelier to hold the other.
    return span.start_unix_nanos, -span.end_unix_nanos
