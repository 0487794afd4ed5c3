"""Reads the configuration: one file, then the environment over it, every mistake at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath

from pydantic import ValidationError

from libs.settings.consistency import inconsistencies
from libs.settings.mistakes import Mistake, Place, PlacedMistake, SettingsError
from libs.settings.redaction import holds_api_key
from libs.settings.schema import Settings
from libs.settings.wording import KEY_ADVICE, mistakes_of
from libs.settings.yaml_tree import Tree, UnreadableError, Value, parse

__all__ = ["LARGEST_FILE_BYTES", "SettingsError", "load", "read"]

LARGEST_FILE_BYTES = 4 << 20
# Environment variables that win over the file, and the field that each sets.
OVERRIDES = {"REDIS_URL": ("stores", "redis_url")}


def load(path: str | FilePath, *, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in a file. SettingsError lists every mistake as FILE:LINE:COLUMN: field: what is wrong."""
    name = str(path)
    try:
        content = FilePath(path).read_bytes()
    except OSError as error:
        raise _unplaced(name, f"cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE_BYTES:
        raise _unplaced(name, f"has {len(content)} bytes; the most is {LARGEST_FILE_BYTES}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError([PlacedMistake(name, Place(line, 1), Mistake((), "is not UTF-8"))]) from None
    return read(text, name=name, environment=environment)


def read(text: str, *, name: str, environment: Mapping[str, str]) -> Settings:
    """The same from a text; `name` stands for the file in messages."""
    try:
        tree = parse(text)
    except UnreadableError as error:
        raise SettingsError([PlacedMistake(name, error.place, Mistake((), str(error)))]) from None
    if not isinstance(tree.root, dict):
        raise _unplaced(name, "is not a mapping of fields; deploy/tokenway.example.yaml shows one")
    overrides = {field: environment[name] for name, field in OVERRIDES.items() if environment.get(name)}
    settings, from_schema = _validated(tree, tree.root, overrides)
    found = (*tree.mistakes, *_misplaced_keys(tree), *from_schema, *inconsistencies(tree))
    if found or settings is None:
        raise SettingsError(_placed(_once(found), tree, name, overridden=overrides))
    return settings


def _validated(
    tree: Tree, root: Mapping[str, Value], overrides: Mapping[tuple[str, str], str]
) -> tuple[Settings | None, Iterable[Mistake]]:
    fields = dict(root)
    for (section, field), value in overrides.items():
        written = fields.get(section) or {}
        # Of another kind: left as it is, to be refused.
        fields[section] = {**written, field: value} if isinstance(written, dict) else written
    try:
        return Settings.model_validate(fields), ()
    except ValidationError as error:
        return None, mistakes_of(error, tree)


def _misplaced_keys(tree: Tree) -> Iterator[Mistake]:
    # A name may look like anything, a key too; and names go into metrics and logs.
    for path in tree.places:
        value = tree.at(path)
        if isinstance(value, str) and holds_api_key(value):
            yield Mistake(path, f"an API key does not belong here: {KEY_ADVICE}")


def _once(mistakes: Iterable[Mistake]) -> Iterable[Mistake]:
    return dict.fromkeys(mistakes)


def _placed(
    mistakes: Iterable[Mistake], tree: Tree, name: str, *, overridden: Mapping[tuple[str, str], str]
) -> Iterator[PlacedMistake]:
    variables = {field: variable for variable, field in OVERRIDES.items() if field in overridden}
    for each in mistakes:
        if each.path in variables:
            yield PlacedMistake("environment", None, Mistake((variables[each.path],), each.message))
        else:
            yield PlacedMistake(name, tree.place(each.path, of_key=each.at_key), each)


def _unplaced(name: str, message: str) -> SettingsError:
    return SettingsError([PlacedMistake(name, None, Mistake((), message))])
