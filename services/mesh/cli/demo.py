"""`tokenway demo`."""

import click


@click.command()
def demo() -> None:
    """The tour."""
