"""What an image installs is what the tests ran with, and all that its service asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTRAS = {"router": "router", "cache": "cache", "budget": "budget", "mesh": "mesh", "inference": "inference-openai"}


def pins(name: str) -> dict[str, str]:
    """Package → version and marker, as `make lock` writes them."""
    text = (ROOT / f"requirements/{name}.txt").read_text()
    return dict(re.findall(r"^([\w.-]+)(==.*?) \\$", text, re.MULTILINE))


@pytest.mark.parametrize("image", EXTRAS)
def test_an_image_has_the_versions_that_are_tested(image: str) -> None:
    assert pins(image).items() <= pins("base").items()


@pytest.mark.parametrize("image", EXTRAS)
def test_an_image_has_what_its_service_asks_for(image: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = (*project["dependencies"], *project["optional-dependencies"][EXTRAS[image]])
    assert {re.split(r"[>=<\[]", each)[0] for each in asked} - pins(image).keys() == set(), "run: make lock"


def test_the_wheel_is_built_and_gpus_are_read_by_what_is_tested() -> None:
    assert pins("build").items() <= pins("dev").items()
    assert pins("inference-gpu").items() <= (pins("base") | pins("dev")).items()
