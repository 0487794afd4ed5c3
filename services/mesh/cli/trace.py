"""`tokenway trace`: the tree of a request's spans, from the embedded store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from libs.telemetry.span import SpanKind
from services.mesh.cli.candidates import request_ids
from services.mesh.cli.json_output import json_option, print_json
from services.mesh.cli.last import wanted_request
from services.mesh.cli.local_mesh import state_dir_option
from services.mesh.cli.page import Page
from services.mesh.errors import MeshError
from services.mesh.state_directory import StateDirectory
from services.mesh.trace.render import print_trees
from services.mesh.trace.store import TraceStore
from services.mesh.trace.tree import Node, for_request, forest

# Services export twice a second.
_PATIENCE_SECONDS = 2.0
_BETWEEN_LOOKS_SECONDS = 0.1


@click.command(
    cls=Page,
    examples=(
        ("tokenway trace last", "the tree of the last request that was sent from here"),
        ("tokenway trace last --json | jq -r '[.name, .status] | @tsv'", "its spans, for programs"),
    ),
)
@click.argument(
    "request_id", shell_complete=request_ids, help="From a receipt or an error, or `last`: the last one sent from here."
)
@json_option("One JSON object a line, one a span: parents first.")
@state_dir_option
def trace(*, request_id: str, state: StateDirectory, as_json: bool) -> None:
    """Print the tree of a request's spans.

    Who called whom, and how long each took: of the mesh on this machine, running or not; elsewhere Jaeger has the same
    spans.
    """
    wanted = wanted_request(request_id, state)
    trees = asyncio.run(trees_of(wanted, state.traces, until=is_whole, patience_seconds=_PATIENCE_SECONDS))
    if not trees:
        raise MeshError(f"no spans of request {wanted} in {state.traces}; they come within a second, from this mesh")
    if not as_json:
        print_trees(trees, console=Console())
        return
    for node in (each for tree in trees for each in tree.walk()):
        print_json(asdict(node.span))


async def trees_of(
    request_id: str, store: Path, *, until: Callable[[list[Node]], bool], patience_seconds: float
) -> list[Node]:
    """The request's trees, once they are as wanted; when patience ends, as they are then."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    while True:
        trees = _read(request_id, store)
        if until(trees) or loop.time() > deadline:
            return trees
        await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)


def _read(request_id: str, path: Path) -> list[Node]:
    try:
        with TraceStore.read(path) as store:
            return for_request(forest(store.of_request(request_id)), request_id)
    except FileNotFoundError as error:
        raise MeshError(str(error)) from None


def is_whole(trees: Sequence[Node]) -> bool:
    """No span names a parent that is missing, and no call lacks what the service that was called has to say of it."""
    nodes = [node for tree in trees for node in tree.walk()]
    calls = (node for node in nodes if node.span.kind is SpanKind.CLIENT)
    return bool(nodes) and all(node.children for node in calls) and not any(node.orphan for node in nodes)
