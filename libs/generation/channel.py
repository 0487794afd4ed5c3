"""Where in an answer a piece of text belongs: the pieces of one channel, joined, are one text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ChannelKind(StrEnum):
    """What an answer has texts of."""

    TEXT = "text"
    REASONING = "reasoning"
    TOOL_ARGUMENTS = "tool_arguments"


@dataclass(frozen=True, slots=True)
class Channel:
    """One text of an answer; the index counts its tool calls."""

    kind: ChannelKind
    index: int = 0


TEXT = Channel(ChannelKind.TEXT)
REASONING = Channel(ChannelKind.REASONING)


def tool_arguments(index: int) -> Channel:
    """The arguments of one tool call, which are JSON."""
    return Channel(ChannelKind.TOOL_ARGUMENTS, index)
