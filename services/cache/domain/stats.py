"""What the cache did since it started."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

from services.cache.domain.eligibility import BypassReason


class Verdict(StrEnum):
    """How a lookup ended."""

    HIT = "hit"
    MISS = "miss"
    # Another's answer, as it was generated.
    SHARED = "shared"
    BYPASS = "bypass"
    # The store was away, or the caller did not wait: a miss to the caller.
    FAILED = "failed"


class SemanticResult(StrEnum):
    """What came of asking the semantic tier."""

    HIT = "hit"
    # Nothing was asked in this partition.
    NONE = "none"
    # The nearest is not near enough.
    THRESHOLD = "threshold"
    # The nearest asks something else in much the same words: the lexical guard's veto.
    GUARD = "guard"
    # A hit, but for being answered anew to see whether it would have been right.
    AUDIT = "audit"
    # Not a question for it: tools, code, or a tier that wants exact answers alone.
    INELIGIBLE = "ineligible"
    TOO_SHORT = "too_short"
    # Longer than the encoder takes in, or with signs that it does not know.
    NOT_EMBEDDED = "not_embedded"
    # The encoder had too much to do.
    SHED = "shed"
    # It was not waited for.
    LATE = "late"
    # The store was away.
    FAILED = "failed"


class FillResult(StrEnum):
    """What became of an answer that was offered."""

    STORED = "stored"
    UNFINISHED = "unfinished"
    FINISH_REASON = "finish_reason"
    TOOL_CALLS = "tool_calls"
    TOO_LARGE = "too_large"
    # What it belongs to was dropped while it was generated.
    INVALIDATED = "invalidated"
    UNKNOWN_FIELDS = BypassReason.UNKNOWN_FIELDS
    TEMPERATURE = BypassReason.TEMPERATURE
    SCOPE = BypassReason.SCOPE
    # The caller left in mid-answer, broke the stream's order, or the store was away.
    FAILED = "failed"


class FlightEvent(StrEnum):
    """What happened to generations that more than one request waited for."""

    # One that a caller of this replica leads has its first follower.
    LED = "led"
    # A caller of this replica follows one.
    FOLLOWED = "followed"
    # One of those took the place of a lost leader.
    PROMOTED = "promoted"
    # One that a caller of this replica led was lost or given back before its end, while it was followed.
    BROKEN = "broken"


@dataclass(slots=True)
class Counts:
    """Of one organisation, or of all."""

    lookups: Counter[Verdict] = field(default_factory=Counter)
    fills: Counter[FillResult] = field(default_factory=Counter)
    semantic: Counter[SemanticResult] = field(default_factory=Counter)
    # Bad hits.
    reported: int = 0

    @property
    def cacheable_lookups(self) -> int:
        """Lookups of questions that may be cached; a failed one might have hit."""
        return self.lookups.total() - self.lookups[Verdict.BYPASS]

    @property
    def hit_rate(self) -> float:
        """Hits ÷ lookups of what may be cached; 0 before the first."""
        return self.lookups[Verdict.HIT] / self.cacheable_lookups if self.cacheable_lookups else 0.0


class Stats:
    """Counts by organisation. Not kept anywhere: they begin with the process."""

    def __init__(self) -> None:
        self._all = Counts()
        self._of: defaultdict[str, Counts] = defaultdict(Counts)
        self.unreadable = 0
        self.vetoes: Counter[str] = Counter()
        self.flights: Counter[FlightEvent] = Counter()
        # At present.
        self.followers = 0

    def looked_up(self, organisation: str, verdict: Verdict) -> None:
        """A lookup ended."""
        self._all.lookups[verdict] += 1
        self._of[organisation].lookups[verdict] += 1

    def looked_near(self, organisation: str, result: SemanticResult) -> None:
        """The semantic tier was asked."""
        self._all.semantic[result] += 1
        self._of[organisation].semantic[result] += 1

    def vetoed(self, objection: str) -> None:
        """The lexical guard kept an answer back that was near enough."""
        self.vetoes[objection] += 1

    def filled(self, organisation: str, result: FillResult) -> None:
        """A fill ended."""
        self._all.fills[result] += 1
        self._of[organisation].fills[result] += 1

    def flew(self, event: FlightEvent) -> None:
        """Something happened to a flight."""
        self.flights[event] += 1

    def reported(self, organisation: str) -> None:
        """A caller says that a hit was wrong."""
        self._all.reported += 1
        self._of[organisation].reported += 1

    def found_unreadable(self) -> None:
        """The store held something under a key that could not be trusted."""
        self.unreadable += 1

    def counts(self, organisation: str = "") -> Counts:
        """Of one organisation; without one, of all."""
        return self._of.get(organisation, Counts()) if organisation else self._all
