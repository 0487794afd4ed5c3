"""What the router's domain needs of the world outside. Failures are TokenwayErrors throughout."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from libs.errors import Reason
from libs.money import Price, Usage
from services.router.domain.answer import CachedFrom, CacheVerdict, Delta, FinishReason, Outcome, Receipt
from services.router.domain.ask import Ask, CacheTier
from services.router.domain.cache_explanation import CacheExplanation
from services.router.domain.catalogue import Model
from services.router.domain.guards.policy import GuardWatcher
from services.router.domain.principal import Principal
from services.router.domain.route import Plan


class Keys(Protocol):
    """Finds whom a key names."""

    async def principal(self, key: str) -> Principal:
        """KEY_UNKNOWN, KEY_EXPIRED, KEY_REVOKED; KEY_STORE_UNAVAILABLE when nobody can tell."""
        ...


@dataclass(frozen=True, slots=True)
class EngineStarted:
    """The engine has taken the request up."""

    input_tokens: int
    cached_input_tokens: int


@dataclass(frozen=True, slots=True)
class EngineFinished:
    """The engine ended the answer; its count is the truth."""

    finish_reason: FinishReason
    usage: Usage


EngineEvent = EngineStarted | Delta | EngineFinished


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one request on one model; attempts count from 1 over all its models."""

    request_id: str
    ask: Ask
    model: Model
    number: int
    # The replicas that had their try: the engines add the one they choose, and choose another while there is one.
    tried: set[str] = field(default_factory=set)


class Engines(Protocol):
    """The inference services of every model. It finds the replicas and chooses among them."""

    def ready(self, model: str) -> bool:
        """Whether a replica was ready when last asked, about a second ago; True while unknown."""
        ...

    def replicas(self, model: str) -> int:
        """How many there are at present."""
        ...

    def generate(self, attempt: Attempt) -> AbstractAsyncContextManager[AsyncIterator[EngineEvent]]:
        """EngineStarted, deltas, EngineFinished. Leaving the block aborts the engine's work.

        A stream that ends without EngineFinished raises STREAM_BROKEN. An attempt goes to a replica that is not
        among those tried, if there is one.
        """
        ...


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Which answers of an organisation may be reused, and by whom."""

    enabled: bool = True
    scope: Literal["organisation", "team", "user", "key"] = "organisation"
    ttl_seconds: float = 3_600
    reuse_sampled: bool = False
    tier: CacheTier = CacheTier.EXACT
    single_flight: bool = True


@dataclass(frozen=True, slots=True)
class CacheQuestion:
    """Everything that can change an answer."""

    ask: Ask
    model: Model
    principal: Principal
    policy: CachePolicy

    @property
    def tier(self) -> CacheTier:
        """A request may only be stricter than its organisation."""
        return min(self.policy.tier, self.ask.cache_tier)


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A whole stored answer."""

    deltas: tuple[Delta, ...]
    finish_reason: FinishReason
    origin: CachedFrom


@dataclass(frozen=True, slots=True)
class Lead:
    """There is none, and this request generates it for all who ask the same. The token names it in its fill."""

    token: str


@dataclass(frozen=True, slots=True)
class Follow:
    """Another request is generating it; what was used is known at its end."""

    origin: CachedFrom


Looked = CachedAnswer | CacheVerdict | Lead | Follow


@dataclass(frozen=True, slots=True)
class SharedEnd:
    """The end of an answer that was followed."""

    finish_reason: FinishReason
    usage: Usage


SharedEvent = Delta | SharedEnd | Looked


class Looking(Protocol):
    """One look-up that is open. Whoever leads keeps it so: to leave it is to give the lead back."""

    @property
    def as_of(self) -> int:
        """What the cache knew to be invalidated when it was asked, for the fill; 0 where that is not known."""
        ...

    async def found(self) -> Looked:
        """A whole answer, or why there is none; once. Fails open: a cache that errs or is slow says UNAVAILABLE."""
        ...

    async def followed(self) -> bool:
        """Of a leader: waits until it has a follower; False at the end of the look-up, whichever. Fails not."""
        ...

    def shared(self) -> AsyncGenerator[SharedEvent]:
        """Of a follower: the answer from its beginning, to a SharedEnd.

        Its leader may be lost: then whose it is now, and again the answer from its beginning; or that this request is
        to generate. Any error but OUT_OF_TIME says that the cache was lost.
        """
        ...


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The end of an answer that was generated. What is `for_followers_alone` is not stored."""

    finish_reason: FinishReason
    usage: Usage
    for_followers_alone: bool = False


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    """The end of an answer that fails for whoever asks the same: those who follow go on alone."""


class Cache(Protocol):
    """Answers that may be reused."""

    def lookup(
        self, question: CacheQuestion, *, single_flight: bool, refresh: bool
    ) -> AbstractAsyncContextManager[Looking]:
        """Looks while the block runs; leaving it ends the look-up. Neither fails. Nobody leads or follows unasked.

        To `refresh` is to find nothing but `as_of`.
        """
        ...

    async def fill(
        self,
        question: CacheQuestion,
        answer: AsyncGenerator[Sequence[Delta] | AnswerEnd | AnswerFailed],
        *,
        request_id: str,
        lead_token: str,
        as_of: int,
        live: bool,
    ) -> None:
        """Stores an answer that comes to its end, and ends the look-up of its leader. Fails open: nothing is raised.

        Not where it was invalidated since `as_of`, which is of a look-up before it was generated.

        `live`: it takes as long as the answer does to come, and goes on to those who follow meanwhile.
        """
        ...

    async def report_bad_hit(self, principal: Principal, request_id: str) -> bool:
        """Evicts the answer that the request got; False when it is gone already, or was not the principal's to report.

        SERVICE_UNAVAILABLE when the cache is away.
        """
        ...

    async def explain(self, question: CacheQuestion) -> CacheExplanation:
        """What it makes of the question; changes nothing. SERVICE_UNAVAILABLE when the cache is away."""
        ...


@dataclass(frozen=True, slots=True)
class PassedLimit:
    """A soft limit that stands passed; it refuses nothing."""

    # Such as `key:ci` or `organisation`.
    account: str
    kind: str
    window: str
    most: int
    # Booked or reserved, this request included; in the limit's unit.
    taken: int

    def __str__(self) -> str:
        return f"{self.account} {self.kind}/{self.window} {self.taken}/{self.most}"


@dataclass(frozen=True, slots=True)
class Lease:
    """Output tokens that may be delivered, counted from the answer's start, until an instant of time.monotonic()."""

    output_tokens: int
    deliver_until: float
    # When to ask for more time at the latest.
    renew_at: float
    # Of a first lease alone.
    warnings: tuple[PassedLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is asked of the budget: an upper bound of the input, a first lease, and the most it may come to."""

    reservation_id: str
    request_id: str
    principal: Principal
    model: str
    price: Price
    max_input_tokens: int
    want_output_tokens: int
    max_output_tokens: int
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class Booked:
    """What the ledger has."""

    cost_micro_usd: int
    uncovered_micro_usd: int
    # Its own words, where it has more to say than it was told.
    why: str = ""


class Budget(Protocol):
    """The budget service. Fails closed: BUDGET_UNAVAILABLE."""

    async def reserve(self, reservation: Reservation) -> Lease:
        """BUDGET_EXCEEDED names the limit; OUT_OF_TIME: the caller's. Idempotent by reservation id."""
        ...

    async def extend(self, reservation: Reservation, *, seq: int, used: Usage, want_output_tokens: int) -> Lease:
        """Books what was used and covers more beyond it. Idempotent by seq."""
        ...

    async def settle(self, reservation: Reservation, *, usage: Usage, outcome: Outcome, why: str) -> Booked:
        """Books the final usage and returns the rest. Idempotent."""
        ...

    async def release(self, reservation: Reservation) -> None:
        """Returns everything. Idempotent; a reservation that never came to be is no error."""
        ...


class Watcher(GuardWatcher, Protocol):
    """Sees what is decided: traces and metrics. Never fails."""

    def refused(self, reason: Reason) -> None:
        """A request was turned away before any model was asked."""
        ...

    def routed(self, plan: Plan) -> None:
        """The models' verdicts."""
        ...

    def attempted(self, model: str, *, failure: Reason | None) -> None:
        """One try is over: it gave its first token, or failed before it."""
        ...

    def retried(self, model: str, *, after: Reason) -> None:
        """The same model is tried once more, its last try having failed so."""
        ...

    def fell_back(self, model: str, *, after: Reason) -> None:
        """The request leaves this model for the next, its last try having failed so."""
        ...

    def first_token(self, model: str, *, after_seconds: float) -> None:
        """The first delta is on its way."""
        ...

    def discarded(self, model: str, *, tokens: int) -> None:
        """The engine made tokens that no lease covered; nobody gets or pays them."""
        ...

    def warned(self, principal: Principal, passed: Sequence[PassedLimit]) -> None:
        """Soft limits that a request found passed, or passed itself; once, at its end."""
        ...

    def ended(self, receipt: Receipt, *, overhead_seconds: float) -> None:
        """The request's end, once; its outcome says whether it failed. EngineWait says what the overhead is."""
        ...
