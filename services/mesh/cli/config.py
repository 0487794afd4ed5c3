"""`tokenway config`: checks a configuration before a service has to refuse it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from libs.settings.document import load
from libs.settings.json_schema import json_schema


@click.group()
def config() -> None:
    """Check a configuration, or print its schema."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """List every mistake in FILE with its line and column; exit code 2 when there is any."""
    settings = load(file)
    replicas = sum(len(model.endpoints) for model in settings.models)
    keys = sum(len(organisation.keys) for organisation in settings.organisations)
    click.echo(
        f"{file}: valid: {len(settings.models)} models with {replicas} replicas, "
        f"{len(settings.organisations)} organisations with {keys} keys"
    )


@config.command()
def schema() -> None:
    """Print the JSON schema, for editors that complete and check the file as it is written."""
    sys.stdout.write(json_schema())
