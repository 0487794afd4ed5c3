"""Every command's page: what it does, what it takes, an example, how it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import services.mesh
from services.mesh.cli.app import tokenway
from services.mesh.cli.ending import MEANINGS
from services.mesh.cli.page import ENVIRONMENT, FILES, Page, Pages

# What click itself adds.
_OF_CLICK = {"help", "version"}


def walked(command: click.Command, name: str = "tokenway") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            assert below is not None
            yield from walked(below, f"{name} {each}")


COMMANDS = dict(walked(tokenway))


@pytest.mark.parametrize("name", [name for name, each in COMMANDS.items() if isinstance(each, click.Group)])
def test_no_summary_is_cut_on_a_terminal_of_80_columns(name: str) -> None:
    shown = CliRunner().invoke(tokenway, [*name.split()[1:], "--help"], prog_name="tokenway", terminal_width=78)
    commands = shown.output.partition("\nCommands:\n")[2].partition("\n\n")[0]
    assert commands
    assert "..." not in commands


def page(name: str) -> str:
    shown = CliRunner().invoke(tokenway, [*name.split()[1:], "--help"], prog_name="tokenway")
    assert shown.exit_code == 0
    return shown.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_whole_page(name: str) -> None:
    command, text = COMMANDS[name], page(name)
    assert isinstance(command, Page | Pages)
    assert command.help
    assert command.get_short_help_str(200).endswith((".", ";", "…")) or "." in command.help
    assert command.examples
    assert all(typed in text for typed, _ in command.examples)
    for parameter in command.params:
        assert isinstance(parameter, click.Option | click.Argument)
        if parameter.name not in _OF_CLICK:
            assert parameter.help, f"{name}: {parameter.name} is not explained"


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_says_what_holds_without_it(name: str) -> None:
    for option in COMMANDS[name].params:
        if not isinstance(option, click.Option) or option.is_flag or option.name in _OF_CLICK:
            continue
        assert option.show_default or re.search(r"\[.+\]\.$", option.help or ""), f"{name} {option.name}: {option.help}"


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if isinstance(command, Page)])
def test_a_command_says_how_it_ends_and_what_it_reads(name: str) -> None:
    command, text = COMMANDS[name], page(name)
    assert isinstance(command, Page)
    for code in command.endings():
        assert re.search(rf"^  {code} +\S", text.partition("Exit codes:")[2], re.MULTILINE)
    for option in command.params:
        if isinstance(option, click.Option) and option.envvar:
            assert str(option.envvar) in text
    assert set(command.variables()) <= set(ENVIRONMENT)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_is_a_command_that_there_is(name: str) -> None:
    command = COMMANDS[name]
    assert isinstance(command, Page | Pages)
    for typed, _ in command.examples:
        words = re.split(r"tokenway ", typed, maxsplit=1)[1].split()
        known = max((each for each in COMMANDS if f"tokenway {' '.join(words)} ".startswith(f"{each} ")), key=len)
        options = {each for param in COMMANDS[known].params for each in param.opts}
        own = re.split(r" [|>] ", typed.partition("tokenway ")[2])[0]
        used = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", re.sub(r"'[^']*'|\"[^\"]*\"", "''", own)))
        assert used <= options, f"{typed}: {known} has no {used - options}"


def test_the_first_page_has_every_exit_code_and_variable() -> None:
    text = page("tokenway")
    assert all(re.search(rf"^  {code} +", text, re.MULTILINE) for code in MEANINGS)
    assert all(name in text for name in ENVIRONMENT)


def test_the_exit_codes_and_files_are_those_of_the_readme() -> None:
    readme = (Path(services.mesh.__file__).parent / "README.md").read_text()
    assert all(f"| {code} | {says}" in readme for code, says in MEANINGS.items())
    assert all(name.startswith("~/") for name in FILES)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_same_page(name: str) -> None:
    shown = CliRunner().invoke(tokenway, ["help", *name.split()[1:]], prog_name="tokenway")
    assert (shown.exit_code, shown.output) == (0, page(name))


def test_help_for_a_command_that_is_none_is_wrong_usage() -> None:
    shown = CliRunner().invoke(tokenway, ["help", "budget", "burn"])
    assert (shown.exit_code, shown.output.splitlines()[-1]) == (
        2,
        "Error: there is no command 'budget burn'; `tokenway help` lists them",
    )


def test_pages_are_no_wider_than_their_terminal() -> None:
    for name, command in COMMANDS.items():
        narrow = CliRunner().invoke(tokenway, [*name.split()[1:], "--help"], prog_name="tokenway", terminal_width=60)
        examples = {f"$ {typed}" for typed, _ in getattr(command, "examples", ())}
        wide = [line for line in narrow.output.splitlines() if len(line) > 60 and line.strip() not in examples]
        assert not [line for line in wide if not line.startswith("Usage")], wide


def test_every_command_that_prints_something_prints_it_for_programs() -> None:
    without = {
        name for name, command in COMMANDS.items() if isinstance(command, Page) and "as_json" not in _names(command)
    }
    # `up` prints one line that programs read, the schema is JSON, the others print for people or shells alone.
    assert without == {
        *("tokenway demo", "tokenway up", "tokenway config schema", "tokenway completion", "tokenway help")
    }


def _names(command: click.Command) -> set[str | None]:
    return {each.name for each in command.params}
