"""Whatever a file holds, it gives settings or a SettingsError: never another exception."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from libs.settings.document import SettingsError, read
from libs.settings.schema import Settings

EXAMPLE = Path("deploy/tokenway.example.yaml").read_text()
TREE = yaml.safe_load(EXAMPLE)


def outcome(text: str) -> Settings | str:
    try:
        return read(text, name="mesh.yaml", environment={})
    except SettingsError as error:
        return str(error)


def paths(here: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children = here.items() if isinstance(here, dict) else enumerate(here) if isinstance(here, list) else ()
    return [path, *(below for part, child in children for below in paths(child, (*path, part)))]


def replaced(here: Any, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    part, *rest = path
    if isinstance(here, dict):
        return {**here, part: replaced(here[part], tuple(rest), value)}
    return [replaced(child, tuple(rest), value) if at == part else child for at, child in enumerate(here)]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.datetimes()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(scalars, inner), max_leaves=5)


@given(path=st.sampled_from(paths(TREE)), value=values)
def test_any_value_anywhere_is_read_or_refused(path: tuple[str | int, ...], value: Any) -> None:
    text = yaml.safe_dump(replaced(TREE, path, value), allow_unicode=True)
    result = outcome(text)
    assert isinstance(result, Settings) or result.startswith("mesh.yaml")


@given(start=st.integers(0, len(EXAMPLE)), length=st.integers(0, 40), text=st.text(max_size=40))
@example(start=0, length=0, text='"\\ud800": 1\n')
@example(start=0, length=0, text='a: "\\U00110000"\n')
@example(start=0, length=0, text=f"%YAML 1.{'9' * 5_000}\n---\n")
@example(start=0, length=0, text="<<: *a\n")
@example(start=0, length=0, text="? \n")
def test_any_damage_to_the_text_is_read_or_refused(start: int, length: int, text: str) -> None:
    result = outcome(EXAMPLE[:start] + text + EXAMPLE[start + length :])
    assert isinstance(result, Settings) or result.startswith("mesh.yaml")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    assert isinstance(outcome(text), str)
