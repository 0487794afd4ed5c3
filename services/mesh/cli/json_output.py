"""What commands print for programs: one JSON object a line, a failure too."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from libs.errors import TokenwayError
from services.mesh.cli.ending import exit_code, request_id
from services.mesh.errors import MeshError

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(says: str) -> Callable[[Command], Command]:
    """Adds --json; the command gets `as_json`. With it a failure is an object on standard output as well."""

    def added(command: Command) -> Command:
        @functools.wraps(command)
        def answered(*arguments: Any, as_json: bool, **named: Any) -> Any:
            try:
                return command(*arguments, as_json=as_json, **named)
            except (TokenwayError, MeshError) as error:
                if as_json:
                    print_json({"error": _fields(error)})
                raise

        return click.option("--json", "as_json", is_flag=True, help=says)(answered)  # type: ignore[return-value] # a wrapper of it

    return added


def print_json(fields: dict[str, Any]) -> None:
    """One object, one line, at once."""
    sys.stdout.write(json.dumps(fields, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _fields(error: TokenwayError | MeshError) -> dict[str, Any]:
    if isinstance(error, MeshError):
        return {"reason": "MESH", "message": str(error), "exit_code": exit_code(error)}
    return {
        "reason": error.reason,
        "message": error.message,
        "metadata": dict(error.metadata),
        "fields": {each.field: each.description for each in error.fields},
        "quotas": {each.subject: each.description for each in error.quotas},
        "retry_after_seconds": error.retry_after_seconds,
        "request_id": request_id(error),
        "exit_code": exit_code(error),
    }
