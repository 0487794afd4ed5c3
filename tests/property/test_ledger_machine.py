"""Two ledgers, one in Redis and one as plain as can be, live through the same history and must always agree."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from libs.errors import TokenwayError
from libs.money import Price, Usage, UsageSource
from libs.testing.ledger import InMemoryLedger
from libs.testing.ledger_books import RedisBooks
from libs.testing.valkey import RedisServer
from services.budget.domain.lease import Extension, LeasePolicy, Reservation, ReservationId
from services.budget.domain.limits import WINDOWS, Account, Limit, Principal, Scope
from services.budget.domain.ports import Ledger
from services.budget.domain.receipt import SETTLED_WITH, Settlement
from services.budget.domain.windows import Window
from tests.contract.ledgers import LedgerClock, Tried, in_redis, ms

POLICY = LeasePolicy(lifetime_seconds=60, near_limit_factor=3)
PRINCIPALS = (Principal(key_id="ada", organisation="acme"), Principal(key_id="bob", organisation="acme"))
LIMITED = (Account(Scope.KEY, "ada"), Account(Scope.ORGANISATION))
# Just before the end of hours, days and months: of a leap February, of December, of a month of 30 days.
EDGES = [
    "2024-02-28T23:59:40",
    "2024-02-29T22:59:58",
    "2024-02-29T23:59:59",
    "2024-04-30T23:59:30",
    "2024-12-31T23:59:59",
    "2025-02-28T23:59:45",
]
PRICES = [Price(1_000_000, 1_000_000, 1_000_000), Price(150_000, 15_000, 600_000), Price(3, 7, 1), Price(0, 0, 0)]
TOKENS = st.integers(0, 300)
OUTCOMES = st.sampled_from(sorted(SETTLED_WITH))

Step = Callable[[Ledger], Awaitable[Any]]


class LedgerMachine(RuleBasedStateMachine):
    """Each rule is done to both; `check` compares what they answered."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        server.flush()
        self.loop = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.tried: Tried = self.loop.run(self.stack.enter_async_context(in_redis(server.url, POLICY)))
        self.clock: LedgerClock = self.tried.clock
        self.model = InMemoryLedger(policy=POLICY, now_ms=self.clock)
        self.books = RedisBooks(server.url)
        self.limits: dict[tuple[str, str], int] = {}
        self.asked: list[Reservation] = []
        self.done: list[Step] = []
        self.latest_ms = 0

    def teardown(self) -> None:
        self.books.close()
        self.loop.run(self.stack.aclose())
        self.loop.close()

    @initialize(
        edge=st.sampled_from(EDGES),
        limits=st.dictionaries(st.tuples(st.sampled_from(LIMITED), st.sampled_from(WINDOWS)), st.integers(0, 3_000)),
    )
    def begin(self, edge: str, limits: dict[Any, int]) -> None:
        self.clock.now_ms = ms(edge)
        for (account, window), most in limits.items():
            self.limits[str(account), window] = most
            limit = Limit(account, window, most)
            self.both(partial(_put_limit, limit))

    @rule(
        principal=st.sampled_from(PRINCIPALS),
        price=st.sampled_from(PRICES),
        tokens=st.tuples(TOKENS, TOKENS, TOKENS),
        replaces=st.none() | st.integers(0, 20),
    )
    def reserve(self, principal: Principal, price: Price, tokens: tuple[int, int, int], replaces: int | None) -> None:
        name = ReservationId(f"r{len(self.asked)}")
        old = self.asked[replaces % len(self.asked)].id if self.asked and replaces is not None else None
        reservation = Reservation(name, f"request-{name}", principal, "model", price, *tokens, replaces=old)
        self.asked.append(reservation)
        self.check(lambda ledger: ledger.reserve(reservation))

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 50), seq=st.integers(1, 4), tokens=st.tuples(TOKENS, TOKENS, TOKENS), want=TOKENS)
    def extend(self, which: int, seq: int, tokens: tuple[int, int, int], want: int) -> None:
        extension = Extension(self.one(which).id, "acme", seq, usage(tokens), want)
        self.check(lambda ledger: ledger.extend(extension))

    @precondition(lambda self: self.asked)
    @rule(
        which=st.integers(0, 50),
        tokens=st.tuples(TOKENS, TOKENS, TOKENS),
        outcome=st.sampled_from(sorted(SETTLED_WITH)),
    )
    def settle(self, which: int, tokens: tuple[int, int, int], outcome: Any) -> None:
        settlement = Settlement(self.one(which).id, "acme", usage(tokens), outcome, "why")
        self.check(lambda ledger: ledger.settle(settlement))

    @precondition(lambda self: self.asked)
    @rule(which=st.integers(0, 50))
    def release(self, which: int) -> None:
        name = self.one(which).id
        self.check(lambda ledger: ledger.release("acme", name))

    @rule(principal=st.sampled_from(PRINCIPALS))
    def usage(self, principal: Principal) -> None:
        self.check(lambda ledger: ledger.usage(principal))

    @rule()
    def sweep(self) -> None:
        self.check(lambda ledger: ledger.sweep())

    @precondition(lambda self: self.done)
    @rule(which=st.integers(0, 100))
    def repeat(self, which: int) -> None:
        """A duplicate, soon or late."""
        self.both(self.done[which % len(self.done)])

    @rule(seconds=st.sampled_from([0.001, 1, 20, 30, 60, 3_600, 86_400, 86_460, -30, -7_200]))
    def time_passes(self, seconds: float) -> None:
        """Or steps back."""
        self.clock.advance(seconds)

    @invariant()
    def no_limit_is_passed(self) -> None:
        for (account, window, _), (spent, reserved) in self.books.counters("acme").items():
            assert spent >= 0
            assert reserved >= 0
            assert spent + reserved <= self.limits.get((account, window), float("inf"))

    @invariant()
    def receipts_and_counters_agree(self) -> None:
        spent = {where: spent for where, (spent, _) in self.books.counters("acme").items()}
        by_receipts = self.books.spent_by_receipts("acme")
        assert {where: amount for where, amount in spent.items() if amount} == {
            where: amount for where, amount in by_receipts.items() if amount
        }

    @invariant()
    def the_counters_are_those_of_the_model(self) -> None:
        for (account, window, identity), stands in self.books.counters("acme").items():
            scope, _, subject = account.partition(":")
            assert stands == self.model.counter("acme", Account(Scope(scope), subject), Window(window), identity)

    @invariant()
    def the_receipts_are_those_of_the_model(self) -> None:
        assert sorted(map(repr, self.books.receipts("acme"))) == sorted(map(repr, self.model.receipts("acme")))

    @invariant()
    def the_sums_of_each_day_are_those_of_the_model(self) -> None:
        for day, sums in self.books.spent_by_day("acme").items():
            on = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date()
            assert sums == self.loop.run(self.model.spent_on("acme", on))

    @invariant()
    def the_sums_of_all_days_are_what_the_receipts_came_to(self) -> None:
        costs = {each.reservation_id: each.cost_micro_usd for each in self.books.receipts("acme")}
        days = self.books.spent_by_day("acme").values()
        assert sum(spent.cost_micro_usd for sums in days for spent in sums.values()) == sum(costs.values())

    def one(self, which: int) -> Reservation:
        return self.asked[which % len(self.asked)]

    def check(self, step: Step) -> None:
        self.done.append(step)
        self.both(step)

    def both(self, step: Step) -> None:
        assert self.loop.run(answer(self.tried.ledger, step)) == self.loop.run(answer(self.model, step))


def usage(tokens: tuple[int, int, int]) -> Usage:
    fresh, cached, output = tokens
    return Usage(fresh + cached, cached, output, UsageSource.ENGINE)


async def _put_limit(limit: Limit, ledger: Ledger) -> None:
    await ledger.put_limit("acme", limit)


async def answer(ledger: Ledger, step: Step) -> object:
    """What it returned; of an error everything that its caller sees."""
    try:
        return await step(ledger)
    except TokenwayError as error:
        return error.reason, error.message, error.metadata, error.retry_after_seconds, error.quotas


def test_the_ledger_in_redis_lives_as_its_model_does(redis_servers: RedisServer) -> None:
    run_state_machine_as_test(
        partial(LedgerMachine, redis_servers),  # type: ignore[arg-type]  # any callable that makes one will do
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,  # a shared machine
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
