"""Bytes that two values share only if they are the same: every value with its type and length before it.

Without lengths ("ab", "c") and ("a", "bc") would be one; without types 1 and "1"; without the names of dataclasses a
text and a tool's result. A dataclass goes in with all its fields, so one that is added later changes the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import fields, is_dataclass
from typing import Any


def canonical(value: Any) -> bytes:
    """The bytes of None, bools, ints, floats, texts, bytes, tuples and dataclasses of these; TypeError for others."""
    chunks: list[bytes] = []
    _append(chunks, value)
    return b"".join(chunks)


def _append(chunks: list[bytes], value: Any) -> None:
    match value:
        case None:
            chunks.append(b"n")
        case bool():
            chunks.append(b"t" if value else b"f")
        case int():
            _sized(chunks, b"i", str(value).encode())
        case float():
            # Adding 0 makes -0.0 the 0.0 that it equals.
            chunks.append(b"d" + struct.pack(">d", value + 0.0))
        case str():
            # An enum's member is its value. A lone surrogate is no text, and still must not fail here.
            _sized(chunks, b"s", value.encode("utf-8", "surrogatepass"))
        case bytes():
            _sized(chunks, b"b", value)
        case tuple():
            chunks.append(b"l" + _length(len(value)))
            for each in value:
                _append(chunks, each)
        case _ if is_dataclass(value):
            named = fields(value)
            _sized(chunks, b"c", type(value).__name__.encode())
            chunks.append(_length(len(named)))
            for field in named:
                _append(chunks, field.name)
                _append(chunks, getattr(value, field.name))
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical form")


def _sized(chunks: list[bytes], kind: bytes, content: bytes) -> None:
    chunks.append(kind + _length(len(content)))
    chunks.append(content)


def _length(count: int) -> bytes:
    return struct.pack(">Q", count)
