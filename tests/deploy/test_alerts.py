"""Alerts: promtool shows each one fire and keep silent, and each has its section in the page for whoever is woken."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from services.mesh.cli.app import tokenway
from tests.deploy.shipped import DEPLOY, PROMETHEUS, alerts, read

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool; `apt-get install prometheus` brings it")
UNIT_TESTS = ("rules_test.yml", "rules_days_test.yml")
INCIDENTS = (DEPLOY / "incidents.md").read_text()


def promtool(*arguments: str) -> None:
    assert PROMTOOL is not None
    ended = subprocess.run([PROMTOOL, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@needs_promtool
@pytest.mark.timeout(600)  # 7 s of one core, of which a busy machine gives little
@pytest.mark.parametrize("arguments", ["check config prometheus.yml", f"test rules {' '.join(UNIT_TESTS)}"])
def test_promtool_agrees(arguments: str) -> None:
    promtool(*arguments.split())


def expectations() -> Iterator[tuple[str, bool]]:
    """Alerts that the unit tests ask for, and whether they expect each to fire."""
    for file in UNIT_TESTS:
        for test in read(PROMETHEUS / file)["tests"]:
            for expected in test["promql_expr_test"]:
                name = re.fullmatch(r'ALERTS\{alertname="(\w+)", alertstate="firing"\}', expected["expr"])
                assert name, expected["expr"]
                yield name[1], bool(expected["exp_samples"])


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_is_seen_to_fire_and_to_keep_silent(alert: str) -> None:
    assert {fires for name, fires in expectations() if name == alert} == {True, False}


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_says_how_urgent_it_is_and_links_what_to_do(alert: str) -> None:
    rule = alerts()[alert]
    page, _, section = rule["annotations"]["runbook_url"].partition("#")
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert page.endswith("/deploy/incidents.md")
    assert section == alert.lower()
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    assert sections().keys() == alerts().keys()


@pytest.mark.parametrize("alert", alerts())
def test_a_section_says_what_it_means_who_is_hurt_where_to_look_and_what_to_do(alert: str) -> None:
    headings = re.findall(r"^\*\*(.+?)\.\*\*", sections()[alert], re.MULTILINE)
    assert headings == ["Means", "Hurt", "Look", "Do"]


def test_every_command_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`tokenway ([a-z]+(?: [a-z]+)?)", INCIDENTS))
    assert named
    assert {each for each in named if not exists(each.split())} == set()


def exists(words: list[str]) -> bool:
    """Whether the command line has the command; what follows a command that has none below it is an argument."""
    command: click.Command | None = tokenway
    context = click.Context(tokenway)
    for word in words:
        if isinstance(command, click.Group):
            command = command.get_command(context, word)
    return command is not None


def sections() -> dict[str, str]:
    """The page's text by alert."""
    parts = re.split(r"^### (Tokenway\w+)$", INCIDENTS, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_unit_tests_are_all_run() -> None:
    assert {each.name for each in Path(PROMETHEUS).glob("*_test.yml")} == set(UNIT_TESTS)
