"""`tokenway help`: the page of a command."""

from __future__ import annotations

import click

from services.mesh.cli.page import Page


@click.command(
    "help",
    cls=Page,
    examples=(("tokenway help budget set", "the same as `tokenway budget set --help`"),),
)
@click.argument("names", metavar="COMMAND", nargs=-1, help="The command's name, and its subcommand's.")
@click.pass_context
def help(ctx: click.Context, names: tuple[str, ...]) -> None:  # noqa: A001 - the command's name
    """Show the page of a command, or which commands there are."""
    page = ctx.find_root()
    for name in names:
        group = page.command
        found = group.get_command(page, name) if isinstance(group, click.Group) else None
        if found is None:
            raise click.UsageError(f"there is no command {' '.join(names)!r}; `tokenway help` lists them")
        page = click.Context(found, info_name=name, parent=page)
    click.echo(page.get_help())
