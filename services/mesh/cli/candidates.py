"""What a shell offers for an argument: soon, or nothing, and never an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from services.mesh.state_directory import StateDirectory
from services.mesh.trace.store import TraceStore

_MOST_REQUESTS = 20


def offered(candidates: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    """The candidates that begin so; none when they cannot be had, for whatever reason."""
    try:
        return [each for each in candidates() if each.startswith(incomplete)]
    except Exception:  # the middle of a line that somebody types is no place to say so
        return []


def request_ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """`last`, and the newest in the embedded trace store."""
    return offered(lambda: ("last", *offered(lambda: _stored(context.params["state"]), "")), incomplete)


def _stored(state: StateDirectory) -> Iterable[str]:
    with TraceStore.read(state.traces) as store:
        return store.newest_requests(_MOST_REQUESTS)
