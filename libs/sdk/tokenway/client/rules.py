"""What an option may be, as far as it can be said before the mesh is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from libs.errors import FieldViolation, invalid_request

CACHE_MODES = ("off", "read_only", "refresh")
# What the proto's field holds. That 0 tokens are too few is the router's to say.
_WHOLE = {"max_tokens": (0, 2**32 - 1), "seed": (-(2**63), 2**63 - 1)}
_MOST_SECONDS = 86_400


def check(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """TypeError for an option that is none, as for any argument; INVALID_REQUEST for values that cannot be sent."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"{name!r} is no option: {meant}")
    if broken := tuple(_broken(given)):
        raise invalid_request(*broken)


def check_timeout(seconds: float | None) -> None:
    """None: the router's own."""
    if seconds is not None and not 0 < seconds <= _MOST_SECONDS:
        raise invalid_request(
            FieldViolation("timeout_seconds", f"is {seconds:g}: give seconds, above 0 and at most {_MOST_SECONDS:,}")
        )


def _broken(given: Mapping[str, Any]) -> Iterator[FieldViolation]:
    for name, (least, most) in _WHOLE.items():
        value = given.get(name)
        if value is not None and not (isinstance(value, int) and least <= value <= most):
            yield FieldViolation(
                name, f"is {repr(value)[:40]}: give a whole number, at least {least} and at most {most}"
            )
    if isinstance(given.get("stop"), str):
        yield FieldViolation("stop", "is one text, whose every letter would stop the answer: give a list of texts")
    mode = given.get("cache")
    if mode is not None and mode not in CACHE_MODES:
        yield FieldViolation("cache", f"is {repr(mode)[:40]}: give {', '.join(CACHE_MODES)}, or leave it out")
