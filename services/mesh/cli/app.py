"""The command `tokenway`: its subcommands, and how each ends."""

from __future__ import annotations

import importlib
import os
import sys
from datetime import UTC, datetime
from importlib.metadata import version

import click

from libs.errors import TokenwayError
from libs.settings.mistakes import SettingsError
from services.mesh.cli import ending
from services.mesh.cli.page import ENVIRONMENT, Pages
from services.mesh.errors import InterruptedMeshError, MeshError, ServiceFailedError

_LONGEST_SHOWN = 64


class Commands(Pages):
    """Each command NAME is the object NAME of the module NAME beside this one, loaded when it is asked for.

    Half of what they import together, a question to a running mesh does not need.
    """

    NAMES = (
        *("demo", "up", "chat", "models", "explain", "trace", "keys", "budget", "spend", "receipts", "cache"),
        *("config", "doctor", "completion", "help"),
    )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Of the whole line: its subcommands' too."""
        for each in () if ctx.resilient_parsing else args:  # a shell that completes a line gets no error
            _refuse_bytes(each)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.NAMES:
            return None
        command: click.Command = getattr(importlib.import_module(f"services.mesh.cli.{cmd_name}"), cmd_name)
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), says) for code, says in ending.MEANINGS.items()])
        with formatter.section("Environment"):
            formatter.write_dl(list(ENVIRONMENT.items()))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=(
        ("tokenway up", "starts a mesh on this machine, with a small model, and keeps it running"),
        ('tokenway chat "Why is the sky blue?"', "asks it"),
        ("tokenway doctor", "says what is wrong with it, and how to mend it"),
        ("tokenway help keys create", "the page of one command"),
    ),
)
@click.version_option(version("tokenway"), prog_name="tokenway")
def tokenway() -> None:
    """Run language models behind one gRPC API: a mesh of router, cache, budget and inference."""


def run() -> int:
    """Runs the command of this process and returns its exit code."""
    try:
        code = tokenway.main(prog_name="tokenway", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else ending.DONE
    except BrokenPipeError:
        return _unread()
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


def _refuse_bytes(argument: str) -> None:
    """Python keeps bytes that are no text as lone surrogates, which nothing can send or print."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(argument)[:_LONGEST_SHOWN].decode(errors="backslashreplace")
        raise click.UsageError(f'the argument "{shown}" is not UTF-8 text: give it as UTF-8') from None


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


def _unread() -> int:
    # Whoever read has seen enough. What is still buffered would fail once more when Python flushes it at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ending.FAILED
