"""The command `tokenway`: its subcommands, and how each ends."""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, datetime
from importlib.metadata import version

import click

from libs.errors import TokenwayError
from libs.settings.document import SettingsError
from services.mesh.cli import ending
from services.mesh.errors import InterruptedMeshError, MeshError, ServiceFailedError


class Commands(click.Group):
    """Each command NAME is the object NAME of the module NAME beside this one, loaded when it is asked for.

    Half of what they import together, a question to a running mesh does not need.
    """

    NAMES = ("demo", "up", "chat", "models", "explain", "trace", "keys", "budget", "config")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.NAMES:
            return None
        command: click.Command = getattr(importlib.import_module(f"services.mesh.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("tokenway"), prog_name="tokenway")
def tokenway() -> None:
    """Run language models behind one gRPC API: a mesh of router, cache, budget and inference.

    Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 the request was refused as it is, 4 the key,
    5 a limit (try later), 6 unavailable or out of time, 130 interrupted.
    """


def run() -> int:
    """Runs the command of this process and returns its exit code."""
    try:
        code = tokenway.main(prog_name="tokenway", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return ending.USAGE
    except SettingsError as error:
        return _failed(str(error), ending.USAGE)
    except TokenwayError as error:
        return _failed(f"error: {ending.one_line(error, now=datetime.now(UTC))}", ending.exit_code(error))
    except ServiceFailedError as error:
        return _failed("\n".join((f"error: {error}", *(f"  | {line}" for line in error.last_lines))), ending.FAILED)
    except (InterruptedMeshError, click.Abort):  # Abort: Ctrl-C, and click has ended the line
        return _failed("interrupted", ending.CANCELLED)
    except MeshError as error:
        return _failed(f"error: {error}", ending.FAILED)


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code
