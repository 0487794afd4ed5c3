"""The page that `--help` shows of a command: what it does and takes, examples, how it ends, what else it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from services.mesh.cli.ending import CANCELLED, DONE, FAILED, MEANINGS, USAGE

ENVIRONMENT = {
    "TOKENWAY_STATE_DIR": "the state directory, where --state-dir names none",
    "TOKENWAY_ROUTER": "the router, where --router names none",
    "TOKENWAY_API_KEY": "the API key, where --key-file names none",
    "TOKENWAY_MESH_TOKEN": "what services show each other; a random one each start, where it is not set",
    "REDIS_URL": "the Redis to use; it wins over the configuration",
    "XDG_STATE_HOME": "where the state directory is by default [~/.local/state]",
    "XDG_CACHE_HOME": "where the default model is kept [~/.cache]",
    "NO_COLOR": "no colours on a terminal",
}
FILES = {
    "~/.local/state/tokenway/": "key, data, logs and traces of the mesh; for its owner alone",
    "~/.cache/tokenway/models/": "the default model",
}
_STATE, _MODELS = FILES

Examples = Sequence[tuple[str, str]]


class Page(click.Command):
    """A command with examples. What its options imply is said by itself: exit codes, variables, files."""

    def __init__(
        self,
        *arguments: Any,
        examples: Examples = (),
        exit_codes: Mapping[int, str] | None = None,
        environment: Sequence[str] = (),
        runs_the_mesh: bool = False,
        **named: Any,
    ) -> None:
        super().__init__(*arguments, **named)
        self.examples = examples
        self._exit_codes = exit_codes or {}
        self._environment = environment
        self._runs_the_mesh = runs_the_mesh

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_examples(formatter, self.examples)
        for heading, rows in (
            ("Exit codes", [(str(code), says) for code, says in self.endings().items()]),
            ("Environment", [(name, ENVIRONMENT[name]) for name in self.variables()]),
            ("Files", [(name, FILES[name]) for name in self._files()]),
        ):
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def endings(self) -> dict[int, str]:
        """Exit codes and what they mean."""
        codes = tuple(MEANINGS) if self._has("router") else (DONE, FAILED, USAGE, CANCELLED)
        return {code: self._exit_codes.get(code, MEANINGS[code]) for code in codes}

    def variables(self) -> Iterator[str]:
        """What it reads from the environment."""
        if self._has("router"):
            yield from ("TOKENWAY_ROUTER", "TOKENWAY_API_KEY")
        if self._has("state"):
            yield from ("TOKENWAY_STATE_DIR", "XDG_STATE_HOME")
        yield from self._environment
        yield "NO_COLOR"

    def _files(self) -> Iterator[str]:
        if self._has("state"):
            yield _STATE
        if self._runs_the_mesh:
            yield _MODELS

    def _has(self, parameter: str) -> bool:
        return any(each.name == parameter for each in self.params)


class Pages(click.Group):
    """A group whose commands are pages, with examples of its own."""

    command_class = Page

    def __init__(self, *arguments: Any, examples: Examples = (), **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_examples(formatter, self.examples)


def write_examples(formatter: click.HelpFormatter, examples: Examples) -> None:
    """Each as it is typed, and what it does below."""
    if not examples:
        return
    with formatter.section("Examples"):
        for typed, does in examples:
            formatter.write(f"{'':>{formatter.current_indent}}$ {typed}\n")
            with formatter.indentation():
                formatter.indent()
                formatter.write_text(does)
                formatter.dedent()
