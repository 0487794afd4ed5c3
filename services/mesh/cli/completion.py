"""`tokenway completion`: a shell that knows the commands, and what the running mesh has."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from services.mesh.cli.page import Page

_VARIABLE = "_TOKENWAY_COMPLETE"
_INSTALLING = {
    "bash": 'eval "$(tokenway completion bash)"   # in ~/.bashrc; needs bash 4.4 or later',
    "zsh": 'eval "$(tokenway completion zsh)"   # in ~/.zshrc, below compinit',
    "fish": "tokenway completion fish > ~/.config/fish/completions/tokenway.fish   # once",
}


@click.command(
    cls=Page,
    examples=(
        ('eval "$(tokenway completion bash)"', "now, and in each new shell from ~/.bashrc"),
        (_INSTALLING["fish"].partition("   #")[0], "for fish, once"),
    ),
)
@click.argument("shell", type=click.Choice(list(_INSTALLING)), help="Your shell.")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes commands.

    And options, and what the running mesh has: names of models, ids of keys, and ids of requests. The mesh is asked for
    300 ms at most; where none answers there is nothing to choose from, and never an error.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - a Choice of those that click has
    script = kind(ctx.find_root().command, {}, "tokenway", _VARIABLE)
    # Not `source()`: for bash that starts one to ask for its version.
    sys.stdout.write(f"# {_INSTALLING[shell]}\n{script.source_template % script.source_vars()}\n")
