"""No token without a live lease; whatever becomes of the request, its money is booked or returned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import structlog

from libs.background import Background
from libs.errors import Reason, TokenwayError
from libs.money import Usage, UsageSource
from services.router.domain.account import Account
from services.router.domain.answer import FinishReason, Outcome
from services.router.domain.ports import Booked, Lease, Reservation
from tests.unit.router.asks import PRINCIPAL, TIERS, ask

SMALL, MEDIUM = TIERS[0], TIERS[1]
REMOTE = replace(SMALL, remote=True)
REFUSED = TokenwayError(Reason.BUDGET_EXCEEDED, "spent")
AWAY = TokenwayError(Reason.BUDGET_UNAVAILABLE, "away")


@dataclass
class ManualClock:
    seconds: float = 1_000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> float:
        return self.seconds


@dataclass
class ScriptedBudget:
    """Leases what it is asked for, until it is told to refuse; remembers every call."""

    clock: ManualClock
    lifetime_seconds: float = 60
    refuse: TokenwayError | None = None
    refuse_reserve: TokenwayError | None = None
    refuse_settle: list[TokenwayError] = field(default_factory=list)
    refuse_release: TokenwayError | None = None
    slow_reserve: asyncio.Event | None = None
    calls: list[str] = field(default_factory=list)
    settled: list[tuple[Usage, Outcome]] = field(default_factory=list)
    extended: asyncio.Event = field(default_factory=asyncio.Event)

    async def reserve(self, reservation: Reservation) -> Lease:
        self.calls.append(f"reserve {reservation.model}{' replacing' if reservation.replaces else ''}")
        if self.slow_reserve is not None:
            await self.slow_reserve.wait()
        if self.refuse_reserve is not None:
            raise self.refuse_reserve
        return self._lease(reservation.want_output_tokens)

    async def extend(self, reservation: Reservation, *, seq: int, used: Usage, want_output_tokens: int) -> Lease:
        self.calls.append(f"extend {seq} used {used.output_tokens} want {want_output_tokens}")
        self.extended.set()
        if self.refuse is not None:
            raise self.refuse
        return self._lease(used.output_tokens + want_output_tokens)

    async def settle(self, reservation: Reservation, *, usage: Usage, outcome: Outcome, why: str) -> Booked:
        self.calls.append(f"settle {reservation.model}")
        if self.refuse_settle:
            raise self.refuse_settle.pop()
        self.settled.append((usage, outcome))
        return Booked(cost_micro_usd=7, uncovered_micro_usd=0)

    async def release(self, reservation: Reservation) -> None:
        self.calls.append(f"release {reservation.model}")
        if self.refuse_release is not None:
            raise self.refuse_release

    def _lease(self, tokens: int) -> Lease:
        end = self.clock.seconds + self.lifetime_seconds
        return Lease(tokens, deliver_until=end, renew_at=end)


@asynccontextmanager
async def account(
    budget: ScriptedBudget,
    *,
    max_tokens: int = 1_000,
    first_lease_tokens: int = 100,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[Account]:
    async with Background(drain_seconds=5) as background:
        opened = Account(
            budget=budget,
            background=background,
            clock=budget.clock,
            ask=ask(max_tokens=max_tokens),
            principal=PRINCIPAL,
            request_id="request",
            first_lease_tokens=first_lease_tokens,
            sleep=sleep,
        )
        yield opened
        await asyncio.gather(opened.close(Outcome.CANCELLED, why=""), return_exceptions=True)


@pytest.fixture
def budget() -> ScriptedBudget:
    return ScriptedBudget(ManualClock())


async def started(opened: Account) -> None:
    await opened.reserve(SMALL)
    opened.begin(input_tokens=10, cached_input_tokens=0)


async def test_the_lease_is_extended_before_it_is_used_up(budget: ScriptedBudget) -> None:
    async with account(budget) as opened:
        await started(opened)
        for _ in range(80):
            assert await opened.covered(1) == 1
            opened.delivered(1)
        await asyncio.wait_for(budget.extended.wait(), 5)
    extension = budget.calls[1].split()
    assert extension[:2] == ["extend", "1"]
    assert int(extension[3]) + int(extension[5]) == 200, "what was left of the first lease, and a step more"


async def test_a_refused_extension_delivers_to_the_last_leased_token_and_no_further(budget: ScriptedBudget) -> None:
    budget.refuse = REFUSED
    async with account(budget) as opened:
        await started(opened)
        delivered = 0
        while (covered := await opened.covered(7)) == 7:
            opened.delivered(covered)
            delivered += covered
        assert (delivered, covered) == (98, 2)
        assert opened.ended_by is FinishReason.BUDGET


async def test_nothing_is_delivered_after_the_leases_time(budget: ScriptedBudget) -> None:
    budget.refuse = REFUSED
    async with account(budget) as opened:
        await started(opened)
        assert await opened.covered(1) == 1
        budget.clock.seconds += 61
        assert await opened.covered(1) == 0


async def test_a_lease_that_covers_the_whole_answer_asks_for_no_more_tokens(budget: ScriptedBudget) -> None:
    async with account(budget, max_tokens=100) as opened:
        await started(opened)
        for _ in range(100):
            assert await opened.covered(1) == 1
            opened.delivered(1)
    assert [each for each in budget.calls if each.startswith("extend")] == []


async def test_what_was_delivered_is_settled_once_however_often_it_is_closed(budget: ScriptedBudget) -> None:
    async with account(budget) as opened:
        await started(opened)
        opened.delivered(3)
        first = opened.close(Outcome.FINISHED, why="")
        assert opened.close(Outcome.CANCELLED, why="") is first
        assert await first == Booked(7, 0)
    ((usage, outcome),) = budget.settled
    assert (usage.input_tokens, usage.output_tokens, outcome) == (10, 3, Outcome.FINISHED)


async def test_a_request_that_delivered_nothing_gets_everything_back(budget: ScriptedBudget) -> None:
    async with account(budget) as opened:
        await started(opened)
    assert budget.calls == ["reserve llama-3-7b", "release llama-3-7b"]


async def test_a_caller_that_leaves_while_it_reserves_leaves_no_reservation_behind(budget: ScriptedBudget) -> None:
    budget.slow_reserve = asyncio.Event()
    async with account(budget) as opened:
        reserving = asyncio.create_task(opened.reserve(SMALL))
        await asyncio.sleep(0)
        reserving.cancel()
        await asyncio.gather(reserving, return_exceptions=True)
        closing = opened.close(Outcome.CANCELLED, why="")
        budget.slow_reserve.set()
        await closing
    assert budget.calls == ["reserve llama-3-7b", "release llama-3-7b"]


async def test_a_fallback_replaces_the_reservation_and_a_refused_one_returns_the_old(budget: ScriptedBudget) -> None:
    async with account(budget) as opened:
        await opened.reserve(SMALL)
        budget.refuse_reserve = REFUSED
        with pytest.raises(TokenwayError):
            await opened.reserve(MEDIUM)
    assert budget.calls == ["reserve llama-3-7b", "reserve mixtral-8x7b replacing", "release llama-3-7b"]


@pytest.mark.parametrize("error", [REFUSED, AWAY])
async def test_a_reservation_that_could_not_be_replaced_is_extended_as_before(
    budget: ScriptedBudget, error: TokenwayError
) -> None:
    """Whoever follows goes on without giving it back: nobody must take it for spent meanwhile."""
    async with account(budget) as opened:
        await started(opened)
        budget.refuse_reserve = error
        with pytest.raises(TokenwayError):
            await opened.reserve_nothing(SMALL)
        assert await asyncio.wait_for(opened.covered(101), 5) == 101
        assert opened.ended_by is None


async def test_a_refused_first_reservation_has_nothing_to_return(budget: ScriptedBudget) -> None:
    budget.refuse_reserve = REFUSED
    async with account(budget) as opened:
        with pytest.raises(TokenwayError):
            await opened.reserve(SMALL)
    assert budget.calls == ["reserve llama-3-7b"]


async def test_a_refusal_is_for_whoever_asked_and_for_no_log(budget: ScriptedBudget) -> None:
    budget.refuse_reserve = REFUSED
    with structlog.testing.capture_logs() as written:
        async with account(budget) as opened:
            with pytest.raises(TokenwayError):
                await opened.reserve(SMALL)
    assert written == []


async def test_an_unknown_reservation_is_returned_to_be_sure(budget: ScriptedBudget) -> None:
    budget.refuse_reserve = AWAY
    async with account(budget) as opened:
        with pytest.raises(TokenwayError):
            await opened.reserve(SMALL)
    assert budget.calls == ["reserve llama-3-7b", "release llama-3-7b"]


@pytest.mark.parametrize("caller_leaves", [False, True])
async def test_a_fallback_whose_fate_is_unknown_returns_both_reservations(
    budget: ScriptedBudget, caller_leaves: bool
) -> None:
    async with account(budget) as opened:
        await opened.reserve(SMALL)
        budget.refuse_reserve = REFUSED if caller_leaves else AWAY
        budget.slow_reserve = asyncio.Event()
        falling_back = asyncio.create_task(opened.reserve(MEDIUM))
        await asyncio.sleep(0)
        if caller_leaves:
            falling_back.cancel()
        else:
            budget.slow_reserve.set()
        await asyncio.gather(falling_back, return_exceptions=True)
        budget.slow_reserve.set()
        await opened.close(Outcome.CANCELLED, why="")
    released = {each for each in budget.calls if each.startswith("release")}
    # A refused one was never there; of one that got no answer nobody can say.
    assert released == {"release llama-3-7b"} | (set() if caller_leaves else {"release mixtral-8x7b"})


async def test_a_bug_in_reserving_leaves_nothing_behind(budget: ScriptedBudget) -> None:
    budget.refuse_reserve = ZeroDivisionError()  # type: ignore[assignment]
    async with account(budget) as opened:
        with pytest.raises(ZeroDivisionError):
            await opened.reserve(SMALL)
    assert budget.calls == ["reserve llama-3-7b", "release llama-3-7b"]


async def test_an_engine_that_makes_more_than_it_was_asked_for_is_cut_at_the_length(budget: ScriptedBudget) -> None:
    async with account(budget, max_tokens=10) as opened:
        await started(opened)
        assert await asyncio.wait_for(opened.covered(11), 5) == 10
        assert opened.ended_by is FinishReason.LENGTH
    assert not [each for each in budget.calls if each.startswith("extend")]


async def test_an_engine_that_goes_on_when_the_whole_answer_is_delivered_is_ended_there(budget: ScriptedBudget) -> None:
    async with account(budget, max_tokens=10) as opened:
        await started(opened)
        opened.delivered(await opened.covered(10))
        assert await asyncio.wait_for(opened.covered(1), 5) == 0
        assert opened.ended_by is FinishReason.LENGTH
    assert not [each for each in budget.calls if each.startswith("extend")]


async def test_a_delta_larger_than_the_whole_lease_waits_for_as_many_extensions_as_it_takes(
    budget: ScriptedBudget,
) -> None:
    async with account(budget) as opened:
        await started(opened)
        assert await asyncio.wait_for(opened.covered(450), 5) == 450


async def test_a_bug_in_extending_ends_the_stream_and_does_not_hang_it(budget: ScriptedBudget) -> None:
    budget.refuse = ZeroDivisionError()  # type: ignore[assignment]
    async with account(budget) as opened:
        await started(opened)
        assert await asyncio.wait_for(opened.covered(101), 5) == 100
        assert opened.ended_by is FinishReason.BUDGET_UNAVAILABLE


async def test_the_lease_is_kept_alive_while_the_engine_takes_its_time_to_the_first_token(
    budget: ScriptedBudget,
) -> None:
    budget.lifetime_seconds = 0
    async with account(budget) as opened:
        await opened.reserve(SMALL)
        await asyncio.wait_for(budget.extended.wait(), 5)
    assert budget.calls[1] == "extend 1 used 0 want 100", "time alone: no more tokens than are left"


async def test_a_ledger_that_is_away_at_the_end_is_told_when_it_is_back(budget: ScriptedBudget) -> None:
    budget.refuse_settle = [AWAY]
    async with account(budget) as opened:
        await started(opened)
        opened.delivered(3)
        assert await opened.close(Outcome.FINISHED, why="") == Booked(7, 0)
    assert budget.calls[1:] == ["settle llama-3-7b"] * 2


async def test_what_may_have_been_reserved_while_the_ledger_was_away_is_given_back_by_few_calls(
    budget: ScriptedBudget,
) -> None:
    budget.refuse_reserve = budget.refuse_release = AWAY
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        budget.clock.seconds += seconds

    async with account(budget, sleep=sleep) as opened:
        with pytest.raises(TokenwayError):
            await opened.reserve(SMALL)
        with pytest.raises(TokenwayError, match="away"):
            await opened.close(Outcome.FAILED, why="")

    assert slept[:6] == [0.25, 0.5, 1, 2, 4, 4]
    assert sum(slept) >= 30
    assert budget.calls.count("release llama-3-7b") == len(slept) + 1 <= 12


async def test_of_a_provider_all_that_it_may_bill_is_reserved_before_it_is_asked(budget: ScriptedBudget) -> None:
    async with account(budget, max_tokens=1_000) as opened:
        await opened.reserve(REMOTE)
        opened.begin(input_tokens=10, cached_input_tokens=0)
        assert await opened.covered(1_000) == 1_000
    assert not [each for each in budget.calls if each.startswith("extend")]


async def test_a_providers_own_count_is_settled_be_it_more_or_less_than_was_estimated(budget: ScriptedBudget) -> None:
    for tokens in (2, 9):
        async with account(budget) as opened:
            await opened.reserve(REMOTE)
            opened.begin(input_tokens=10, cached_input_tokens=0)
            opened.delivered(4)
            counted = Usage(12, 3, tokens, UsageSource.PROVIDER)
            opened.counted(counted)
            await opened.close(Outcome.FINISHED, why="")
        assert budget.settled[-1][0] == counted


async def test_without_the_providers_count_an_estimate_is_settled_and_called_one(budget: ScriptedBudget) -> None:
    async with account(budget) as opened:
        await opened.reserve(REMOTE)
        opened.begin(input_tokens=10, cached_input_tokens=0)
        opened.delivered(4)
    assert budget.settled == [(Usage(10, 0, 4, UsageSource.ESTIMATED), Outcome.CANCELLED)]


async def test_a_count_of_our_own_engine_changes_nothing(budget: ScriptedBudget) -> None:
    async with account(budget) as opened:
        await started(opened)
        opened.delivered(4)
        opened.counted(Usage(10, 0, 9, UsageSource.ENGINE))
    assert budget.settled == [(Usage(10, 0, 4, UsageSource.ENGINE), Outcome.CANCELLED)]


async def test_an_estimate_is_not_booked_while_it_streams(budget: ScriptedBudget) -> None:
    budget.lifetime_seconds = 0
    async with account(budget, max_tokens=1_000) as opened:
        await opened.reserve(REMOTE)
        opened.begin(input_tokens=10, cached_input_tokens=0)
        opened.delivered(4)
        await asyncio.wait_for(budget.extended.wait(), 5)
    assert budget.calls[1] == "extend 1 used 0 want 1000", "the provider's count may be lower: settling books it"


async def test_after_a_fallback_from_a_provider_an_engines_count_is_the_truth(budget: ScriptedBudget) -> None:
    async with account(budget) as opened:
        await opened.reserve(REMOTE)
        await opened.reserve(MEDIUM)
        opened.begin(input_tokens=10, cached_input_tokens=0)
        opened.delivered(4)
    assert budget.settled == [(Usage(10, 0, 4, UsageSource.ENGINE), Outcome.CANCELLED)]
