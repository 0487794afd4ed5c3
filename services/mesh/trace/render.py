"""Prints trees: in colour on a terminal, as plain lines into a pipe or a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from services.mesh.trace.describe import Line, describe
from services.mesh.trace.tree import Node


def print_trees(trees: Sequence[Node], *, console: Console) -> None:
    """The trees, under a heading each. Lines into a pipe are never wrapped, so that grep finds whole spans."""
    for tree in trees:
        if console.is_terminal:
            console.print(_coloured(tree))
        else:
            console.print("\n".join(plain_lines(tree)), soft_wrap=True, markup=False, highlight=False, emoji=False)


def plain_lines(tree: Node) -> Iterator[str]:
    """The tree as text: a heading, then one line a span."""
    yield _heading(tree)
    origin = tree.span.start_unix_nanos
    # (node, the guides before it, the guides before its children)
    waiting = [(tree, "", "")]
    while waiting:
        node, guide, below = waiting.pop()
        yield f"{guide}{_plain(describe(node, origin_unix_nanos=origin))}"
        last = len(node.children) - 1
        waiting.extend(
            (child, below + ("└─ " if index == last else "├─ "), below + ("   " if index == last else "│  "))
            for index, child in reversed(list(enumerate(node.children)))
        )


def _heading(tree: Node) -> str:
    spans = list(tree.walk())
    request = next((node.request_id for node in spans if node.request_id), "")
    asked = f"request {request}, " if request else ""
    return f"{asked}trace {tree.span.trace_id}, {len(spans)} spans, {tree.span.duration_ms:.1f} ms"


def _plain(line: Line) -> str:
    mark = "✗ " if line.failed else ""
    return "  ".join((f"{mark}{line.name}", f"[{line.service}]", line.duration, line.offset, *line.details))


def _coloured(tree: Node) -> Tree:
    origin = tree.span.start_unix_nanos
    top = Tree(Text(_heading(tree), style="dim"), guide_style="dim")
    branches = {tree.span.span_id: top.add(_text(describe(tree, origin_unix_nanos=origin)))}
    for node in tree.walk():
        for child in node.children:
            text = _text(describe(child, origin_unix_nanos=origin))
            branches[child.span.span_id] = branches[node.span.span_id].add(text)
    return top


def _text(line: Line) -> Text:
    return Text.assemble(
        (f"✗ {line.name}" if line.failed else line.name, "bold red" if line.failed else "bold"),
        (f"  {line.service}", "cyan"),
        (f"  {line.duration}", "green"),
        (f"  {line.offset}", "dim"),
        *((f"  {detail}", "red" if detail.startswith("FAILED") else "dim") for detail in line.details),
    )
