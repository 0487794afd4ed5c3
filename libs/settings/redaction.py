"""What a message may repeat of the file: never a secret, never more than a line.

A mistake is often a secret at the wrong place, so everything that is echoed passes through here.
"""

from __future__ import annotations

import re

LONGEST_ECHO = 60
# Tokenway's own keys (256 bits in base64url), and what the keys of most providers look like.
_API_KEY = re.compile(r"\b(tw_[A-Za-z0-9_-]{40,}|sk-[A-Za-z0-9_-]{20,})")
# Up to the last @ is user and password, also where the rest of the address is malformed.
_CREDENTIALS = re.compile(r"([a-z]+://)?\S*@")
_SECRET_PARAMETER = re.compile(r"(?i)\b(password|secret|token|key)=[^&\s]+")
# To the end: between the scheme and the credentials is a space.
_AUTHORIZATION = re.compile(r"(?i)\b(\w*authorization)\s*[=:].*")


def holds_api_key(text: str) -> bool:
    """True when the text holds what looks like an API key."""
    return _API_KEY.search(text) is not None


def redacted(text: str) -> str:
    """The text with keys, passwords in addresses and secret parameters replaced by an ellipsis."""
    text = _API_KEY.sub("…", text)
    text = _AUTHORIZATION.sub(r"\1=…", text)
    text = _CREDENTIALS.sub(r"\1…@", text)
    return _SECRET_PARAMETER.sub(r"\1=…", text)


def echo(value: object) -> str:
    """A value as a message shows it."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
    text = redacted(str(value))
    return repr(text if len(text) <= LONGEST_ECHO else text[:LONGEST_ECHO] + "…")
