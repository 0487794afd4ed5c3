"""Something about a trace that is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong; it is excused where a killed process took it along in its last second."""

    text: str
    excused: bool = False
