"""pydantic's errors in this project's words: what is wrong, the value, what is allowed."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from libs.settings import schema
from libs.settings.mistakes import Mistake, Path
from libs.settings.redaction import echo, holds_api_key, redacted
from libs.settings.yaml_tree import Tree

KEY_ADVICE = 'the file never holds a key itself, only its SHA-256, which this prints: printf %s "$KEY" | sha256sum'
_SECRETIVE = {"key", "apikey", "secret", "token", "password"}


def mistakes_of(error: ValidationError, tree: Tree) -> Iterable[Mistake]:
    """Every mistake that pydantic found, with the path as it is written in the file."""
    for details in error.errors(include_url=False):
        path = written_path(details["loc"], tree)
        if details["type"] == "too_short" and tree.at(path):
            continue  # something is there, and has a mistake of its own
        if details["type"] == "extra_forbidden":
            yield Mistake(path, _unknown_field(path, tree), at_key=True)
        else:
            yield Mistake(path, worded(details))


def written_path(location: Iterable[str | int], tree: Tree) -> Path:
    """Pydantic's location without the names of union members, which stand in no file."""
    parts = tuple(location)
    path: Path = ()
    for part, following in itertools.zip_longest(parts, parts[1:]):
        here = tree.at(path)
        is_union_member = following is not None and isinstance(here, dict) and part == here.get("kind")
        if not is_union_member:
            path = (*path, part)
    return path


def worded(details: ErrorDetails) -> str:
    """One error, without its place."""
    value, context = details["input"], details.get("ctx", {})
    if isinstance(value, str) and holds_api_key(value):
        return f"an API key does not belong here: {KEY_ADVICE}"
    word = _WORDS.get(details["type"])
    return word(value, context) if word else f"{redacted(details['msg'])}, not {echo(value)}"


def _pattern(value: Any, context: dict[str, Any]) -> str:
    pattern = context["pattern"]
    allowed = schema.ALLOWED[pattern]
    if pattern == schema.SHA256:
        return f"is not a SHA-256, which is {allowed}; {KEY_ADVICE}"
    return f"{echo(value)} is not allowed; give {allowed}"


def _own_error(value: Any, context: dict[str, Any]) -> str:
    return redacted(str(context["error"]))


_WORDS: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "missing": lambda value, context: "is missing",
    "greater_than": lambda value, context: f"{echo(value)} is too small; it must be more than {context['gt']:,.10g}",
    "greater_than_equal": lambda value, context: f"{echo(value)} is too small; the least is {context['ge']:,.10g}",
    "less_than": lambda value, context: f"{echo(value)} is too large; it must be less than {context['lt']:,.10g}",
    "less_than_equal": lambda value, context: f"{echo(value)} is too large; the most is {context['le']:,.10g}",
    "literal_error": lambda value, context: f"{echo(value)} is not allowed; give {context['expected']}",
    "union_tag_invalid": lambda value, context: (
        f"kind {echo(context['tag'])} is not known; give {context['expected_tags']}"
    ),
    "union_tag_not_found": lambda value, context: "has no kind; give kind: vllm, kind: scripted or kind: openai",
    "string_pattern_mismatch": _pattern,
    "value_error": _own_error,
    "too_short": lambda value, context: f"holds {context['actual_length']}; the least is {context['min_length']}",
    "int_parsing": lambda value, context: f"{echo(value)} is not a whole number",
    "int_parsing_size": lambda value, context: "has too many digits; give a whole number",
    "int_from_float": lambda value, context: f"{echo(value)} is not a whole number",
    "int_type": lambda value, context: f"{echo(value)} is not a whole number",
    "float_parsing": lambda value, context: f"{echo(value)} is not a number",
    "float_type": lambda value, context: f"{echo(value)} is not a number",
    "decimal_parsing": lambda value, context: f"{echo(value)} is not an amount; give a number such as 0.25",
    "decimal_type": lambda value, context: f"{echo(value)} is not an amount; give a number such as 0.25",
    "finite_number": lambda value, context: f"{echo(value)} is not an amount; give a number such as 0.25",
    "bool_parsing": lambda value, context: f"{echo(value)} is neither true nor false",
    "bool_type": lambda value, context: f"{echo(value)} is neither true nor false",
    "string_type": lambda value, context: f"is {echo(value)}; give text",
    "tuple_type": lambda value, context: f"is {echo(value)}; give a list",
    "model_type": lambda value, context: f"is {echo(value)}; give a mapping of fields",
    "model_attributes_type": lambda value, context: f"is {echo(value)}; give a mapping of fields",
    "timezone_aware": lambda value, context: f"{echo(value)} names no time zone; add Z for UTC",
    "datetime_from_date_parsing": lambda value, context: f"{echo(value)} is not a time such as 2027-01-31T00:00:00Z",
    "datetime_parsing": lambda value, context: f"{echo(value)} is not a time such as 2027-01-31T00:00:00Z",
    "datetime_type": lambda value, context: f"{echo(value)} is not a time such as 2027-01-31T00:00:00Z",
}


def _unknown_field(path: Path, tree: Tree) -> str:
    name = str(path[-1])
    if _SECRETIVE & set(re.split("[_-]", name.lower())) or holds_api_key(name):
        return f"is not a field, and its value is not shown here; {KEY_ADVICE}"
    fields = _fields_at(path[:-1], tree)
    close = difflib.get_close_matches(name, fields, n=1)
    return "is not a field; " + (f"did you mean {close[0]}?" if close else f"allowed: {', '.join(fields)}")


def _fields_at(path: Path, tree: Tree) -> tuple[str, ...]:
    """The fields of the section at the path; of a union, those of the member that `kind` names."""
    sections: list[type[schema.Section]] = [schema.Settings]
    for part in path:
        if isinstance(part, str):
            fields = (each.model_fields[part].annotation for each in sections if part in each.model_fields)
            sections = [member for annotation in fields for member in sections_of(annotation)]
    kind = tree.at((*path, "kind"))
    if len(sections) > 1:
        sections = [each for each in sections if kind in get_args(each.model_fields["kind"].annotation)]
    return tuple(sections[0].model_fields) if sections else ()


def sections_of(annotation: Any) -> list[type[schema.Section]]:
    if isinstance(annotation, type) and issubclass(annotation, schema.Section):
        return [annotation]
    return [section for argument in get_args(annotation) for section in sections_of(argument)]
