"""What the cache makes of a question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheNeighbour:
    """A stored answer near the question: cosine of the two questions, and what the lexical guard says ("ok" …)."""

    source_request_id: str
    similarity: float
    guard: str


@dataclass(frozen=True, slots=True)
class CacheExplanation:
    """Both reasons are empty where the cache, and its semantic tier, may answer; threshold is 0 where that may not."""

    model: str
    bypass_reason: str
    semantic_bypass_reason: str
    # Both hexadecimal.
    key: str
    partition: str
    # An exact answer is there.
    stored: bool
    threshold: float
    # Nearest first.
    neighbours: tuple[CacheNeighbour, ...] = ()
