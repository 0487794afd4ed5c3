"""One generation that more than one request waits for, as the replicas of the cache share it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.cache.domain.key import AnswerKey


@dataclass(frozen=True, slots=True)
class Flight:
    """The answer that is being made, and by which of all who have ever led the making of it: no token comes twice."""

    key: AnswerKey
    token: str


@dataclass(frozen=True, slots=True)
class Leader:
    """Who generates: the request, and its span as a W3C traceparent; either may be empty."""

    request_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Lead:
    """Nobody generated it: the caller does, for all who ask the same until it has given the lead back."""

    flight: Flight
    # For its answer: see AnswerStore.
    as_of: int = 0


@dataclass(frozen=True, slots=True)
class Follow:
    """Somebody generates it already."""

    flight: Flight
    leader: Leader
    # For an answer of one's own, after all.
    as_of: int = 0


# The message that ends a flight whose followers had better generate for themselves.
GO_ON_ALONE = b""


class Standing(Enum):
    """What a leader is, as the others see it."""

    # Not the leader any more: it was not heard of for too long, or gave the lead back.
    LOST = "lost"
    # The leader, and nobody has followed.
    ALONE = "alone"
    FOLLOWED = "followed"


@dataclass(frozen=True, slots=True)
class Progress:
    """What has come of a flight after a position. Pieces are messages that join by concatenation.

    `end` is the message that ends the answer; empty where the leader goes on for itself alone. A flight that is `lost`
    will never have an end.
    """

    pieces: tuple[bytes, ...]
    position: int
    end: bytes | None = None
    lost: bool = False
