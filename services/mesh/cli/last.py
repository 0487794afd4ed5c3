"""The request that an argument names."""

from __future__ import annotations

import click

from services.mesh.errors import MeshError
from services.mesh.state_directory import StateDirectory


def wanted_request(given: str, state: StateDirectory) -> str:
    """The id; of `last`, that of the last request that was sent from here."""
    if not given:
        raise click.UsageError("the request's id is empty: give the one that a receipt or an error has, or `last`")
    if given != "last":
        return given
    last = state.last_request()
    if last is None:
        raise MeshError(f"no request was sent from {state.root} yet; ask something with `tokenway chat`")
    return last
