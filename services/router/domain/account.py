"""What pays for one request: a reservation, the lease on it, and the tokens that it has covered so far."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from libs.background import Background
from libs.clock import Clock
from libs.errors import Reason, TokenwayError
from libs.money import Price, Usage, UsageSource, cost_micro_usd
from services.router.domain.answer import FinishReason, Outcome
from services.router.domain.ask import Ask
from services.router.domain.catalogue import Model
from services.router.domain.ports import Booked, Budget, Lease, PassedLimit, Reservation
from services.router.domain.principal import Principal

# How long the budget may be away, once a stream needs it, before the stream ends.
_PATIENCE_SECONDS = 3.0
# How long the budget may be away at the end: half of a lease's usual life.
_INSIST_SECONDS = 30.0
_TRY_AGAIN_SECONDS = 0.25
# Each time that it is away still, the next try waits twice as long, up to this: every request of an outage insists.
_TRY_AGAIN_AT_MOST_SECONDS = 4.0
# Aborting the engine takes about this long, and it makes tokens meanwhile.
_ABORT_SECONDS = 0.05
Told = TypeVar("Told")


class Account:
    """Reserves before the first token, extends ahead of the stream, settles once at the end.

    No token is delivered that the live lease does not cover: `covered` says how many of the next ones are. Whatever
    becomes of the request, `close` books or returns everything; it may be called more than once.
    """

    def __init__(
        self,
        *,
        budget: Budget,
        background: Background,
        clock: Clock,
        ask: Ask,
        principal: Principal,
        request_id: str,
        first_lease_tokens: int,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._budget, self._background, self._clock, self._sleep = budget, background, clock, sleep
        self._ask, self._principal, self._request_id = ask, principal, request_id
        self._step_tokens = first_lease_tokens
        self._max_output_tokens = ask.max_output_tokens
        self._remote = False
        self._reservation: Reservation | None = None
        self._reserving: asyncio.Task[Lease | TokenwayError] | None = None
        # What the ledger may hold of this request: more than one only while nobody knows which.
        self._held: list[Reservation] = []
        self._lease: Lease | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[Booked | None] | None = None
        self._needed, self._changed = asyncio.Event(), asyncio.Event()
        self._ended_by: FinishReason | None = None
        self._began_at = 0.0
        self._slowest_extend_seconds = 0.0
        self.usage = Usage(source=UsageSource.ENGINE)
        # The soft limits that stand passed, as the last reservation found them.
        self.warnings: tuple[PassedLimit, ...] = ()

    @property
    def reservation_id(self) -> str:
        """Empty before the first reservation."""
        return self._reservation.reservation_id if self._reservation else ""

    @property
    def ended_by(self) -> FinishReason | None:
        """BUDGET, BUDGET_UNAVAILABLE or LENGTH once no more will be covered than is."""
        return self._ended_by

    @property
    def cost_micro_usd(self) -> int:
        """What the tokens delivered so far come to."""
        return cost_micro_usd(self._reservation.price, self.usage) if self._reservation else 0

    async def reserve(self, model: Model) -> None:
        """Covers the start of an answer of this model, in place of what was reserved for another.

        BUDGET_EXCEEDED, BUDGET_UNAVAILABLE, OUT_OF_TIME: what was reserved before stays and is kept from running out,
        and `close` returns it.
        """
        await self._begin_with(self._wanted(model), model)

    async def reserve_nothing(self, model: Model) -> None:
        """Counts the request where money or tokens have refused it: an answer that costs nothing is a request too.

        BUDGET_EXCEEDED: by how many requests may be made, or open at once. BUDGET_UNAVAILABLE.
        """
        free = Price(0, 0, 0, model.price.version)
        wanted = self._wanted(model)
        await self._begin_with(
            replace(wanted, price=free, max_input_tokens=0, want_output_tokens=0, max_output_tokens=0), model
        )

    async def _begin_with(self, wanted: Reservation, model: Model) -> None:
        # In the background: a caller that leaves now must not leave a reservation behind that nobody knows of.
        self._reserving = self._background.begin(self._reserve(wanted), name="reserve")
        granted = await asyncio.shield(self._reserving)
        if isinstance(granted, TokenwayError):
            raise granted
        self._lease = granted
        # Until now: a lease that nobody keeps runs out, and is presumed spent.
        if self._keeper is not None:
            self._keeper.cancel()
        self._ended_by = None  # of what is replaced
        self._reservation = wanted
        self.warnings = self._lease.warnings
        self._remote = model.remote
        self.usage = Usage(source=UsageSource.ESTIMATED if model.remote else UsageSource.ENGINE)
        # From now on: an engine may take longer to its first token than a lease lives.
        self._keeper = self._background.begin(self._keep_ahead(wanted), name="lease")

    def begin(self, *, input_tokens: int, cached_input_tokens: int) -> None:
        """The engine has counted the prompt: its first token is here."""
        if self._reservation is None:
            raise RuntimeError("begin comes after reserve")
        self.usage = replace(self.usage, input_tokens=input_tokens, cached_input_tokens=cached_input_tokens)
        self._began_at = self._clock.monotonic()

    async def covered(self, tokens: int) -> int:
        """How many of the next `tokens` may be delivered; fewer only when `ended_by` says why there will be no more."""
        while True:
            self._ask_for_more_if_short()
            left = self._left()
            if tokens <= left or self._ended_by is not None:
                return max(0, min(tokens, left))
            if self._is_whole() and self._is_live():
                # The engine made more than it was asked for. No lease will ever cover that.
                self._ended_by = FinishReason.LENGTH
                continue
            self._changed.clear()
            self._needed.set()
            await self._changed.wait()

    def delivered(self, tokens: int) -> None:
        """So many more tokens have gone to the caller."""
        self.usage = replace(self.usage, output_tokens=self.usage.output_tokens + tokens)

    def counted(self, usage: Usage) -> None:
        """The answer is whole. A provider's own count takes the place of what was estimated while it streamed.

        Our engines' count is what was delivered, which the sum already is.
        """
        if usage.source is UsageSource.PROVIDER:
            self.usage = usage

    def close(self, outcome: Outcome, *, why: str) -> asyncio.Task[Booked | None]:
        """Books what was delivered, or returns everything: in the background, whatever becomes of the caller.

        The result is None where there was nothing to book. The task fails if the ledger cannot be told.
        """
        if self._closing is None:
            if self._keeper is not None:
                self._keeper.cancel()
            self._closing = self._background.begin(self._close(outcome, why), name="settle")
        return self._closing

    async def _reserve(self, wanted: Reservation) -> Lease | TokenwayError:
        """Keeps account of what the ledger may hold, also when the one who asked has left meanwhile.

        A refusal is what it gives, and not how it fails: it is for whoever asked, and for no log.
        """
        self._held.append(wanted)
        try:
            lease = await self._budget.reserve(wanted)
        except TokenwayError as error:
            if error.reason is Reason.BUDGET_EXCEEDED:
                self._held.remove(wanted)
            return error
        self._held = [wanted]
        return lease

    async def _close(self, outcome: Outcome, why: str) -> Booked | None:
        if self._reserving is not None:
            await asyncio.wait({self._reserving})
        if self._reservation is not None and (self.usage.output_tokens or outcome is Outcome.FINISHED):
            settle = self._budget.settle
            reservation, usage = self._reservation, self.usage
            return await self._told(lambda: settle(reservation, usage=usage, outcome=outcome, why=why))
        await asyncio.gather(*(self._told(partial(self._budget.release, each)) for each in self._held))
        return None

    async def _told(self, tell: Callable[[], Awaitable[Told]]) -> Told:
        """Insists: what the ledger is not told of, it books as if the whole lease had been delivered."""
        give_up_at = self._clock.monotonic() + _INSIST_SECONDS
        wait_seconds = _TRY_AGAIN_SECONDS
        while True:
            try:
                return await tell()
            except TokenwayError as error:
                if error.reason is not Reason.BUDGET_UNAVAILABLE or self._clock.monotonic() >= give_up_at:
                    raise
            await self._sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, _TRY_AGAIN_AT_MOST_SECONDS)

    def _wanted(self, model: Model) -> Reservation:
        # No answer outgrows the context window, however much was asked for; the engine ends it there.
        most = self._max_output_tokens = min(self._ask.max_output_tokens, model.context_window_tokens)
        return Reservation(
            reservation_id=str(uuid.uuid4()),
            request_id=self._request_id,
            principal=self._principal,
            model=model.name,
            price=model.price,
            max_input_tokens=self._ask.max_input_tokens,
            # Whatever a provider has been asked for it may make and bill, delivered or not.
            want_output_tokens=most if model.remote else min(self._step_tokens, most),
            max_output_tokens=most,
            replaces=self.reservation_id,
        )

    def _left(self) -> int:
        """Tokens that may be delivered now: none once the lease's time is over, however many it covers."""
        if self._lease is None or not self._is_live():
            return 0
        return self._lease.output_tokens - self.usage.output_tokens

    def _is_live(self) -> bool:
        """Whether the lease's time goes on."""
        return self._lease is not None and self._clock.monotonic() < self._lease.deliver_until

    def _is_whole(self) -> bool:
        """Whether the lease covers the longest answer there can be."""
        return self._lease is not None and self._lease.output_tokens >= self._max_output_tokens

    def _ask_for_more_if_short(self) -> None:
        if self._lease is None or self._is_whole():
            return
        if self._left() < max(self._step_tokens // 4, self._tokens_during_an_extend()):
            self._needed.set()

    def _tokens_during_an_extend(self) -> float:
        elapsed = max(self._clock.monotonic() - self._began_at, 1e-3)
        tokens_per_second = self.usage.output_tokens / elapsed
        return 2 * tokens_per_second * (self._slowest_extend_seconds + _ABORT_SECONDS)

    async def _keep_ahead(self, reservation: Reservation) -> None:
        """Extends the lease when it runs short of tokens or of time, until it is cancelled or refused."""
        seq = 0
        while self._ended_by is None:
            await self._until_needed()
            seq += 1
            try:
                ended_by = await self._extend(reservation, seq)
            except Exception:
                # A bug, and nobody is left to extend: the stream must not wait for it.
                self._end(FinishReason.BUDGET_UNAVAILABLE)
                raise
            self._end(ended_by)

    def _end(self, ended_by: FinishReason | None) -> None:
        """What came of an Extend; None: the lease is extended."""
        self._ended_by = self._ended_by or ended_by
        self._needed.clear()
        self._changed.set()

    async def _until_needed(self) -> None:
        renew_at = self._lease.renew_at if self._lease else 0.0
        try:
            async with asyncio.timeout(max(0.0, renew_at - self._clock.monotonic())):
                await self._needed.wait()
        except TimeoutError:
            pass  # not short of tokens, but of time

    async def _extend(self, reservation: Reservation, seq: int) -> FinishReason | None:
        """None when it was granted; else why the stream has to end with what it has."""
        give_up_at = self._clock.monotonic() + _PATIENCE_SECONDS
        while True:
            began_at = self._clock.monotonic()
            try:
                self._lease = await self._budget.extend(
                    reservation, seq=seq, used=self._known(), want_output_tokens=self._want()
                )
            except TokenwayError as error:
                if error.reason is Reason.BUDGET_EXCEEDED:
                    return FinishReason.BUDGET
                if error.reason is not Reason.BUDGET_UNAVAILABLE or self._clock.monotonic() >= give_up_at:
                    return FinishReason.BUDGET_UNAVAILABLE
                await self._sleep(_TRY_AGAIN_SECONDS)
            else:
                self._slowest_extend_seconds = max(self._slowest_extend_seconds, self._clock.monotonic() - began_at)
                return None

    def _known(self) -> Usage:
        """What may be booked for good by now: nothing of an estimate, for the provider's count may be lower."""
        return Usage(source=self.usage.source) if self._remote else self.usage

    def _want(self) -> int:
        """Beyond what was used: what is left of the lease, and where that is short a step more, up to the whole."""
        used = self._known().output_tokens
        covered = self._lease.output_tokens if self._lease else used
        # A renewal of time alone must not be refused for tokens that nobody needs yet.
        step = self._step_tokens if self._needed.is_set() else 0
        return max(0, min(covered + step, self._max_output_tokens) - used)
