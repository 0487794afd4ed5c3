"""What pays for one request: a reservation, the lease on it, and the tokens that it has covered so far."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace

from libs.background import Background
from libs.clock import Clock
from libs.errors import Reason, TokenwayError
from libs.money import Usage, UsageSource, cost_micro_usd
from services.router.domain.answer import FinishReason, Outcome
from services.router.domain.ask import Ask
from services.router.domain.catalogue import Model
from services.router.domain.ports import Booked, Budget, Lease, Reservation
from services.router.domain.principal import Principal

# How long the budget may be away, once a stream needs it, before the stream ends.
_PATIENCE_SECONDS = 3.0
_TRY_AGAIN_SECONDS = 0.25
# Aborting the engine takes about this long, and it makes tokens meanwhile.
_ABORT_SECONDS = 0.05


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
    ) -> None:
        self._budget, self._background, self._clock = budget, background, clock
        self._ask, self._principal, self._request_id = ask, principal, request_id
        self._step_tokens = first_lease_tokens
        self._max_output_tokens = ask.max_output_tokens
        self._reservation: Reservation | None = None
        self._reserving: asyncio.Task[Lease] | None = None
        self._lease: Lease | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[Booked | None] | None = None
        self._needed, self._changed = asyncio.Event(), asyncio.Event()
        self._ended_by: FinishReason | None = None
        self._began_at = 0.0
        self._slowest_extend_seconds = 0.0
        self.usage = Usage(source=UsageSource.ENGINE)

    @property
    def reservation_id(self) -> str:
        """Empty before the first reservation."""
        return self._reservation.reservation_id if self._reservation else ""

    @property
    def ended_by(self) -> FinishReason | None:
        """BUDGET or BUDGET_UNAVAILABLE once no more will be covered than is."""
        return self._ended_by

    @property
    def cost_micro_usd(self) -> int:
        """What the tokens delivered so far come to."""
        return cost_micro_usd(self._reservation.price, self.usage) if self._reservation else 0

    async def reserve(self, model: Model) -> None:
        """Covers the start of an answer of this model, in place of what was reserved for another.

        BUDGET_EXCEEDED, BUDGET_UNAVAILABLE: what was reserved before stays, and `close` returns it.
        """
        old, self._reservation = self._reservation, self._wanted(model)
        # In the background: a caller that leaves now must not leave a reservation behind that nobody knows of.
        self._reserving = self._background.begin(self._budget.reserve(self._reservation), name="reserve")
        try:
            self._lease = await asyncio.shield(self._reserving)
        except TokenwayError as error:
            if old is not None and error.reason is Reason.BUDGET_EXCEEDED:
                self._reservation = old
            raise

    def begin(self, *, input_tokens: int, cached_input_tokens: int) -> None:
        """The engine has counted the prompt: from now the lease is kept ahead of the stream."""
        if self._reservation is None:
            raise RuntimeError("begin comes after reserve")
        self.usage = replace(self.usage, input_tokens=input_tokens, cached_input_tokens=cached_input_tokens)
        self._began_at = self._clock.monotonic()
        self._keeper = asyncio.create_task(self._keep_ahead(self._reservation), name="lease")

    async def covered(self, tokens: int) -> int:
        """How many of the next `tokens` may be delivered; fewer only when `ended_by` says why there will be no more."""
        while True:
            self._ask_for_more_if_short()
            left = self._left()
            if tokens <= left or self._ended_by is not None:
                return min(tokens, left)
            self._changed.clear()
            self._needed.set()
            await self._changed.wait()

    def delivered(self, tokens: int) -> None:
        """So many more tokens have gone to the caller."""
        self.usage = replace(self.usage, output_tokens=self.usage.output_tokens + tokens)

    def close(self, outcome: Outcome, *, why: str) -> asyncio.Task[Booked | None]:
        """Books what was delivered, or returns everything: in the background, whatever becomes of the caller.

        The result is None where there was nothing to book. The task fails if the ledger cannot be told.
        """
        if self._closing is None:
            if self._keeper is not None:
                self._keeper.cancel()
            self._closing = self._background.begin(self._close(outcome, why), name="settle")
        return self._closing

    async def _close(self, outcome: Outcome, why: str) -> Booked | None:
        if self._reservation is None or self._reserving is None:
            return None
        try:
            await self._reserving
        except TokenwayError as error:
            if error.reason is Reason.BUDGET_EXCEEDED and self._lease is None:
                return None  # nothing was ever reserved
        if self.usage.output_tokens == 0 and outcome is not Outcome.FINISHED:
            await self._budget.release(self._reservation)
            return None
        return await self._budget.settle(self._reservation, usage=self.usage, outcome=outcome, why=why)

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
            want_output_tokens=min(self._step_tokens, most),
            max_output_tokens=most,
            replaces=self.reservation_id,
        )

    def _left(self) -> int:
        """Tokens that may be delivered now: none once the lease's time is over, however many it covers."""
        if self._lease is None or self._clock.monotonic() >= self._lease.deliver_until:
            return 0
        return self._lease.output_tokens - self.usage.output_tokens

    def _ask_for_more_if_short(self) -> None:
        if self._lease is None or self._lease.output_tokens >= self._max_output_tokens:
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
            self._ended_by = await self._extend(reservation, seq)
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
                    reservation, seq=seq, used=self.usage, want_output_tokens=self._want()
                )
            except TokenwayError as error:
                if error.reason is Reason.BUDGET_EXCEEDED:
                    return FinishReason.BUDGET
                if error.reason is not Reason.BUDGET_UNAVAILABLE or self._clock.monotonic() >= give_up_at:
                    return FinishReason.BUDGET_UNAVAILABLE
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
            else:
                self._slowest_extend_seconds = max(self._slowest_extend_seconds, self._clock.monotonic() - began_at)
                return None

    def _want(self) -> int:
        """Beyond what was used: what is left of the lease, and a step more, up to the whole answer."""
        used = self.usage.output_tokens
        covered = self._lease.output_tokens if self._lease else used
        return max(0, min(covered + self._step_tokens, self._max_output_tokens) - used)


AccountMaker = Callable[[Ask, Principal, str], Account]
