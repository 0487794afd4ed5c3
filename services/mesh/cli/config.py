"""`tokenway config`: checks a configuration before a service has to refuse it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from libs.settings.document import SettingsError, load
from libs.settings.json_schema import json_schema
from libs.settings.mistakes import PlacedMistake
from libs.settings.schema import Settings
from services.mesh.cli.ending import DONE, USAGE
from services.mesh.cli.json_output import print_json
from services.mesh.cli.page import Pages


@click.group(
    cls=Pages,
    examples=(
        ("tokenway config check mesh.yaml", "every mistake, each at its line"),
        ("tokenway config schema > tokenway.schema.json", "for an editor"),
    ),
)
def config() -> None:
    """Check a configuration, or print its schema."""


@config.command(
    examples=(
        ("tokenway config check mesh.yaml", "one line when it is valid, else one for every mistake"),
        ("tokenway config check --json mesh.yaml | jq '.mistakes[].message'", "for programs"),
    ),
    exit_codes={DONE: "valid", USAGE: "not valid, or wrong usage"},
    environment=("REDIS_URL",),
)
@click.argument("file", type=click.Path(path_type=Path), help="The configuration, in YAML.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: valid, mistakes.")
def check(*, file: Path, as_json: bool) -> int:
    """List every mistake in FILE, with its line and column. As it would be with this environment."""
    if not as_json:
        click.echo(_summary(file, load(file)))
        return DONE
    try:
        load(file)
    except SettingsError as error:
        print_json({"valid": False, "mistakes": [_fields(each) for each in error.mistakes]})
        return USAGE
    print_json({"valid": True, "mistakes": []})
    return DONE


def _summary(file: Path, settings: Settings) -> str:
    replicas = sum(len(model.endpoints) for model in settings.models)
    keys = sum(len(organisation.keys) for organisation in settings.organisations)
    return (
        f"{file}: valid: {len(settings.models)} models with {replicas} replicas, "
        f"{len(settings.organisations)} organisations with {keys} keys"
    )


def _fields(mistake: PlacedMistake) -> dict[str, Any]:
    place = mistake.place
    return {
        "source": mistake.source,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "message": mistake.text,
    }


@config.command(examples=(("tokenway config schema > tokenway.schema.json", "the one in deploy/ is the same"),))
def schema() -> None:
    """Print the JSON schema of a configuration. For editors that complete and check the file as it is written."""
    sys.stdout.write(json_schema())
