"""What a prompt may tell the scripted engine to do.

| in the prompt | what happens |
|---|---|
| `[[tokens=64]]` | the answer has 64 tokens, not the configured number |
| `[[pace=200]]` | 200 tokens a second |
| `[[gate=/path]]`, `[[gate_after=5]]` | no first token, or none after the fifth, before that file is there |
| `[[echo=some text]]` | the answer is "some text", a token a word |
| `[[fault:refuse]]` | INVALID_REQUEST |
| `[[fault:overloaded]]`, `[[fault:overloaded=2]]` | QUEUE_FULL; with RetryInfo of 2 s |
| `[[fault:unavailable]]` | SERVICE_UNAVAILABLE |
| `[[fault:first_token=3]]` | the first token comes after 3 s |
| `[[fault:stall_after=5]]` | after 5 tokens, silence without end |
| `[[fault:cut_after=10]]` | after 10 tokens, STREAM_BROKEN |
| `[[fault:no_finish_after=4]]` | after 4 tokens the stream ends without Finished |
| `[[fault:die_after=10]]` | after 10 tokens the engine is dead, for every request and for good |
| `[[fault_attempts=1]]` | faults befall the first attempt alone |

Several may stand in one prompt; the last of its name counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from libs.errors import FieldViolation, invalid_request

_DIRECTIVE = re.compile(r"\[\[((?:fault:)?[a-z_]+)(?:=([^\]]*))?\]\]")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_WORDS = frozenset({"fault:refuse", "fault:unavailable"})
_TEXTS = frozenset({"echo", "gate"})
_NUMBERS = frozenset(
    {
        *("tokens", "pace", "gate_after", "fault_attempts", "fault:first_token"),
        *("fault:stall_after", "fault:cut_after", "fault:no_finish_after", "fault:die_after"),
    }
)
_MAYBE_NUMBERS = frozenset({"fault:overloaded"})


@dataclass(frozen=True, slots=True)
class Directives:
    """What was said, by name; a fault's name begins with `fault:`."""

    said: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.said

    def text(self, name: str) -> str | None:
        """None if it was not said."""
        return self.said.get(name)

    def number(self, name: str) -> float | None:
        """None if it was not said, or said without a number."""
        value = self.said.get(name)
        return float(value) if value else None


def directives(prompt: str, *, attempt: int) -> Directives:
    """The directives in a prompt; INVALID_REQUEST for those that the table does not have."""
    said = dict(_DIRECTIVE.findall(prompt))
    broken = tuple(_unknown(said))
    if broken:
        raise invalid_request(*broken)
    found = Directives(said)
    if attempt > (found.number("fault_attempts") or attempt):
        return Directives({name: value for name, value in said.items() if not name.startswith("fault:")})
    return found


def _unknown(said: Mapping[str, str]) -> Iterator[FieldViolation]:
    for name, value in said.items():
        is_number = bool(_NUMBER.fullmatch(value))
        known = (
            name in _TEXTS
            or (name in _WORDS and not value)
            or (name in _NUMBERS and is_number)
            or (name in _MAYBE_NUMBERS and (is_number or not value))
        )
        if not known:
            yield FieldViolation(
                "input", f"no directive [[{name}={value}]]; see scripted_directives.py for those there are"
            )
