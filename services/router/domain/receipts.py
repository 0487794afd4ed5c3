"""What one request's receipt says: in its last message, in its error, in its trace."""

from __future__ import annotations

import asyncio

from libs.clock import Clock
from libs.money import Usage
from services.router.domain.account import Account
from services.router.domain.answer import CachedFrom, Outcome, Receipt
from services.router.domain.generating import Generating
from services.router.domain.ports import Booked
from services.router.domain.route import Plan
from services.router.domain.trying import Trying

# Of another's answer, or of one that is stored.
FREE = frozenset({Outcome.CACHED, Outcome.SHARED})


class Receipts:
    """Made when the request arrives. `first_token_seconds` is for whoever sends its first token to set."""

    def __init__(
        self,
        *,
        request_id: str,
        key_id: str,
        plan: Plan,
        account: Account,
        trying: Trying,
        generating: Generating,
        clock: Clock,
    ) -> None:
        self._request_id, self._key_id, self._plan = request_id, key_id, plan
        self._account, self._trying, self._generating, self._clock = account, trying, generating, clock
        self._arrived_at = clock.monotonic()
        self.first_token_seconds: float | None = None

    @property
    def elapsed_seconds(self) -> float:
        return self._clock.monotonic() - self._arrived_at

    def settled(self, outcome: Outcome, settling: asyncio.Task[Booked | None]) -> Receipt:
        """As far as the ledger has been heard of."""
        heard = settling.done() and not settling.cancelled() and settling.exception() is None
        return self._receipt(outcome, booked=settling.result() if heard else None, settled=heard)

    def given(self, outcome: Outcome, origin: CachedFrom) -> Receipt:
        """Of an answer that this request did not have made."""
        return self._receipt(outcome, booked=None, settled=True, cached=origin)

    def _receipt(
        self, outcome: Outcome, *, booked: Booked | None, settled: bool, cached: CachedFrom | None = None
    ) -> Receipt:
        free = outcome in FREE or (self._account.usage.output_tokens == 0 and outcome is not Outcome.FINISHED)
        return Receipt(
            request_id=self._request_id,
            reservation_id="" if free else self._account.reservation_id,
            model=self._generating.model.name,
            why=(booked and booked.why) or self._plan.why,
            usage=Usage() if free else self._account.usage,
            price=self._generating.model.price,
            cost_micro_usd=0 if free else booked.cost_micro_usd if booked else self._account.cost_micro_usd,
            outcome=outcome,
            attempts=self._trying.attempts,
            settled=settled,
            key_id=self._key_id,
            duration_seconds=self.elapsed_seconds,
            time_to_first_token_seconds=self.first_token_seconds,
            cached=cached,
            uncovered_micro_usd=booked.uncovered_micro_usd if booked else 0,
        )
