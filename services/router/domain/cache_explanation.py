"""What the cache makes of a question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheNeighbour:
    """A stored answer near the question: cosine of the two questions, what the lexical guard says ("ok" …), and which
    share of the votes of the questions nearby the answer has.
    """

    source_request_id: str
    similarity: float
    guard: str
    votes: float


@dataclass(frozen=True, slots=True)
class CacheExplanation:
    """Both reasons are empty where the cache, and its semantic tier, may answer; both thresholds are 0 where that may
    not look.
    """

    model: str
    bypass_reason: str
    semantic_bypass_reason: str
    # Both hexadecimal.
    key: str
    partition: str
    # An exact answer is there.
    stored: bool
    # A cosine, and a share of the votes; 0 where it is not demanded.
    threshold: float
    votes_threshold: float
    # Nearest first.
    neighbours: tuple[CacheNeighbour, ...] = ()
