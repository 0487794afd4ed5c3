"""Bytes that two values share only if they are the same: every value with its type and length before it.

Without lengths ("ab", "c") and ("a", "bc") would be one; without types 1 and "1"; without the names of dataclasses a
text and a tool's result. A dataclass goes in with all its fields, so one that is added later changes the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

Form = Callable[[Any], bytes]

_length: Callable[[int], bytes] = struct.Struct(">Q").pack


def canonical(value: Any) -> bytes:
    """The bytes of None, bools, ints, floats, texts, bytes, tuples and dataclasses of these; TypeError for others."""
    return _form(type(value))(value)  # type: ignore[arg-type]  # mypy: no class is hashable


@cache
def _form(kind: type) -> Form:
    """How values of a type are written. Asked once a type: a question has thirty values, and each look-up two keys."""
    for base, form in _FORMS.items():
        if issubclass(kind, base):
            return form
    if is_dataclass(kind):
        return _of_dataclass(kind)
    raise TypeError(f"{kind.__name__} has no canonical form")


def _of_dataclass(kind: Any) -> Form:
    named = fields(kind)
    head = _sized(b"c", kind.__name__.encode()) + _length(len(named))
    written = [(field.name, canonical(field.name)) for field in named]
    return lambda value: head + b"".join([name + canonical(getattr(value, field)) for field, name in written])


def _of_tuple(value: tuple[Any, ...]) -> bytes:
    return b"l" + _length(len(value)) + b"".join(map(canonical, value))


def _sized(kind: bytes, content: bytes) -> bytes:
    return kind + _length(len(content)) + content


# The first that fits: a bool is an int too. An enum's member is its value.
_FORMS: Mapping[type, Form] = {
    type(None): lambda _: b"n",
    bool: lambda value: b"t" if value else b"f",
    int: lambda value: _sized(b"i", str(value).encode()),
    # Adding 0 makes -0.0 the 0.0 that it equals.
    float: lambda value: b"d" + struct.pack(">d", value + 0.0),
    # A lone surrogate is no text, and still must not fail here.
    str: lambda value: _sized(b"s", value.encode("utf-8", "surrogatepass")),
    bytes: lambda value: _sized(b"b", value),
    tuple: _of_tuple,
}
