r"""How a text is written. In JSON a character may be an escape (`\u0040` is an @), and a number must stay a value."""

from __future__ import annotations

import json
from collections import deque
from typing import Protocol

import regex

# A whole character of JSON text; a backslash that begins no escape stands for itself.
_CHARACTER = regex.compile(r'\\u[0-9A-Fa-f]{4}|\\["\\/bfnrt]|[^\\]')
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Form(Protocol):
    """Between what is written and what it says. What `read` said is written or replaced afterwards, in that order."""

    def read(self, piece: str, *, last: bool = False) -> str:
        """What the next piece says, as far as that is certain; all of it if it is the last."""
        ...

    def written(self, said: str) -> str:
        """The next of what was said, as it was written."""
        ...

    def replaced(self, said: str, by: str) -> str:
        """What to write instead of the next of what was said; `by` may be empty."""
        ...


class Plain:
    """Text that says what it is."""

    def read(self, piece: str, *, last: bool = False) -> str:
        return piece

    def written(self, said: str) -> str:
        return said

    def replaced(self, said: str, by: str) -> str:
        return by


class Json:
    """JSON text, whole or broken off. Half of a surrogate pair reads as U+FFFD: no rule looks for one."""

    def __init__(self) -> None:
        self._unread = ""
        self._in_string = False
        # Of each character that was read: how it is written, and whether it stands in a string.
        self._characters: deque[tuple[str, bool]] = deque()

    def read(self, piece: str, *, last: bool = False) -> str:
        text, at, said = self._unread + piece, 0, []
        while at < len(text):
            match = _CHARACTER.match(text, at, partial=not last)
            if match is not None and match.partial:
                break
            written = match.group() if match else text[at]
            at += len(written)
            said.append(self._character(written))
        self._unread = text[at:]
        return "".join(said)

    def written(self, said: str) -> str:
        return "".join(written for written, _ in self._next(said))

    def replaced(self, said: str, by: str) -> str:
        in_string = self._next(said)[0][1]
        literal = json.dumps(by, ensure_ascii=False)
        return literal[1:-1] if in_string or not by else literal

    def _character(self, written: str) -> str:
        if written == '"':
            self._in_string = not self._in_string
        self._characters.append((written, self._in_string))
        return _said(written)

    def _next(self, said: str) -> list[tuple[str, bool]]:
        return [self._characters.popleft() for _ in said]


def is_json(text: str) -> bool:
    """An object or a list; a bare word or number is read as it is."""
    if text.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _said(written: str) -> str:
    if len(written) == 1:
        return written
    if written[1] != "u":
        return _ESCAPES.get(written[1], written[1])
    character = chr(int(written.removeprefix(r"\u"), 16))
    return character if character.isprintable() or character.isspace() else "\ufffd"
