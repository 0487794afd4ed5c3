"""What a caller gets, event by event, and what it is charged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self

from libs.generation.channel import Channel
from libs.money import Price, Usage


class FinishReason(StrEnum):
    """Why an answer ended: the names of `tokenway.common.v1.FinishReason`."""

    STOP = "STOP"
    LENGTH = "LENGTH"
    TOOL_CALLS = "TOOL_CALLS"
    BUDGET = "BUDGET"
    BUDGET_UNAVAILABLE = "BUDGET_UNAVAILABLE"
    CONTENT_FILTER = "CONTENT_FILTER"


class CacheVerdict(StrEnum):
    """What the cache said: the names of `tokenway.router.v1.CacheVerdict`."""

    HIT = "HIT"
    MISS = "MISS"
    SHARED = "SHARED"
    BYPASSED = "BYPASSED"
    UNAVAILABLE = "UNAVAILABLE"


class Outcome(StrEnum):
    """How a request ended: the names of `tokenway.common.v1.Outcome`."""

    FINISHED = "FINISHED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    DEADLINE = "DEADLINE"
    BUDGET = "BUDGET"
    CACHED = "CACHED"
    SHARED = "SHARED"
    RELEASED = "RELEASED"


class Delta(Protocol):
    """More of an answer. The domain counts what is in it, and has its guards rewrite it."""

    @property
    def tokens(self) -> int:
        """Tokens that its pieces hold."""
        ...

    def first(self, tokens: int) -> Self | None:
        """The leading pieces that hold at most so many tokens; None when not even one fits."""
        ...

    def pieces(self) -> Sequence[Sequence[object]]:
        """Its texts with their tokens, its reasoning, its tool calls: pieces are equal where they are the same."""
        ...

    def without_first(self, *counts: int) -> Self | None:
        """The same without so many leading pieces of each of these fields; None where nothing is left."""
        ...

    def rewritten(self, rewrite: Callable[[Channel, str], str]) -> Self:
        """The same tokens, with every piece as `rewrite` returns it; an empty one stays as such. Nothing else of the
        engine's text is left in it.
        """
        ...

    def without_tokens(self, pieces: Mapping[Channel, str]) -> Self:
        """Another delta, of these pieces alone, that counts nothing."""
        ...


class CacheKind(StrEnum):
    """How a cached answer was found: the names of `tokenway.common.v1.CacheKind`."""

    EXACT = "EXACT"
    SEMANTIC = "SEMANTIC"
    SHARED = "SHARED"


@dataclass(frozen=True, slots=True)
class CachedFrom:
    """Where a cached answer came from."""

    kind: CacheKind
    source_request_id: str
    age_seconds: float
    similarity: float
    original_usage: Usage


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a request used and cost. Seconds count from its arrival; `settled` is False until the ledger has it."""

    request_id: str
    reservation_id: str
    model: str
    why: str
    usage: Usage
    price: Price
    cost_micro_usd: int
    outcome: Outcome
    attempts: int
    settled: bool
    key_id: str
    duration_seconds: float
    time_to_first_token_seconds: float | None = None
    cached: CachedFrom | None = None
    uncovered_micro_usd: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """First, once: no other model can take over any more."""

    request_id: str
    model: str
    why: str
    cache_verdict: CacheVerdict


@dataclass(frozen=True, slots=True)
class Finished:
    """Last, once."""

    finish_reason: FinishReason
    receipt: Receipt


Event = Started | Delta | Finished
