"""Options that say where the mesh is, and with which key."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from libs.address import is_local
from libs.errors import Reason, TokenwayError
from services.mesh.cli.local_mesh import state_dir_option
from services.mesh.client.router import RouterAddress
from services.mesh.errors import MeshError
from services.mesh.state_directory import StateDirectory

Command = TypeVar("Command", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def router_options(command: Command) -> Command:
    """Adds the options of whatever talks to a router; the command gets `router` and `state`."""
    for option in (
        click.option(
            "--key-file", type=_FILE, metavar="FILE", help="Holds the API key [TOKENWAY_API_KEY, else the mesh's own]."
        ),
        click.option(
            "--ca-file",
            type=_FILE,
            metavar="FILE",
            help="The authority of the router's certificate, in PEM; asks for TLS [the system's].",
        ),
        click.option(
            "--router",
            envvar="TOKENWAY_ROUTER",
            metavar="HOST:PORT",
            help="The router [TOKENWAY_ROUTER, else the mesh that runs on this machine].",
        ),
        state_dir_option,
    ):
        command = option(command)
    return command


def router_address(
    state: StateDirectory, *, router: str | None, ca_file: Path | None, key_file: Path | None
) -> RouterAddress:
    """The router that is meant: the one named, else the mesh of this machine. MeshError when neither is there."""
    if router == "":
        raise click.UsageError("--router is empty: give HOST:PORT, or leave it out for the mesh that runs here")
    key = _given_key(key_file)
    if router:
        if not key:  # the local key is not sent to anybody but the local mesh
            raise TokenwayError(Reason.KEY_MISSING, "no key: set TOKENWAY_API_KEY or give --key-file")
        # In plaintext a key never leaves this machine.
        return RouterAddress(router, key, tls=ca_file is not None or not is_local(router), ca_file=ca_file)
    mesh = state.running()
    if mesh is None:
        raise MeshError(f"no mesh runs in {state.root}; start one with `tokenway up`, or name one with --router")
    if ca_file and not mesh.tls:
        raise click.UsageError("--ca-file asks for TLS, which the mesh on this machine does not speak: leave it out")
    return RouterAddress(mesh.router, key or state.api_key(), tls=mesh.tls, ca_file=ca_file)


def _given_key(key_file: Path | None) -> str:
    """The key that was given; empty where none was. One that is given and empty is a mistake: another would do more."""
    if key_file is None and "TOKENWAY_API_KEY" not in os.environ:
        return ""
    named = f"the key file {key_file}" if key_file else "TOKENWAY_API_KEY"
    try:
        key = key_file.read_text() if key_file else os.environ["TOKENWAY_API_KEY"]
    except (OSError, UnicodeDecodeError):
        raise TokenwayError(Reason.KEY_MISSING, f"{named} cannot be read as text: give a file with a key") from None
    if not key.strip():
        raise TokenwayError(Reason.KEY_MISSING, f"{named} is empty: put a key there, or leave it out")
    return key.strip()
