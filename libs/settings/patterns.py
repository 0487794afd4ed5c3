"""What a guard's own regular expression may be: one that a stream can be searched for while it passes.

It matches 1 to 64 characters, so that no more is ever held back. What looks around or back has no place in that, and
what repeats without an end neither; word boundaries may stand at its two ends.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from re import _constants as code  # type: ignore[attr-defined] # typeshed does not know it
from re import _parser  # type: ignore[attr-defined] # the same
from typing import Any

MAX_CHARACTERS = 64
_BOUNDARY = (code.AT, code.AT_BOUNDARY)
# The guards' `regex` reads `{e<=2}` as leave to differ by two characters; to `re` it is text.
_FUZZY = re.compile(r"(?<!\\)(?:\\\\)*\{(?!\d*,?\d*\})")
_REFUSED = {
    code.ASSERT: "looks around, which a stream cannot: say what stands there instead",
    code.ASSERT_NOT: "looks around, which a stream cannot: say what may stand there instead",
    code.GROUPREF: "refers back to a group: write what is repeated",
    code.GROUPREF_EXISTS: "depends on a group: write two patterns",
    code.AT: r"has an anchor (^, $, \A, \Z or \b) within: only \b may stand, at the beginning and the end; "
    r"group what is between, as in \b(?:one|other)\b",
}


def checked(pattern: str) -> str:
    """The pattern. ValueError says what a guard cannot do with it."""
    try:
        with warnings.catch_warnings():
            # What one engine is about to read otherwise, the other may already.
            warnings.simplefilter("error", FutureWarning)
            parsed = _parser.parse(pattern)
    except (re.error, FutureWarning, OverflowError, RecursionError) as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    if _FUZZY.search(pattern):
        raise ValueError("has a brace that is no {1,20}: write \\{ for a brace")
    if parsed.state.flags & ~re.UNICODE:
        raise ValueError("has flags for all of it: write (?i:…) round what ignores case")
    items = list(parsed)
    items = items[items[:1] == [_BOUNDARY] :]
    items = items[: len(items) - (items[-1:] == [_BOUNDARY])]
    for operation in _operations(items):
        if operation in _REFUSED:
            raise ValueError(_REFUSED[operation])
    least, most = parsed.getwidth()
    if least == 0:
        raise ValueError("may match nothing, which is everywhere: demand a character at least")
    if most > MAX_CHARACTERS:
        raise ValueError(f"may match more than {MAX_CHARACTERS} characters: bound what repeats, as in {{1,20}}")
    return pattern


def _operations(items: Any) -> Iterator[Any]:
    """Every operation in a parsed pattern, however deep."""
    for operation, argument in items:
        yield operation
        yield from _within(argument)


def _within(argument: Any) -> Iterator[Any]:
    if isinstance(argument, _parser.SubPattern):
        yield from _operations(argument)
    elif isinstance(argument, list | tuple):
        for each in argument:
            yield from _within(each)
