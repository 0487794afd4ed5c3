"""Two ledgers, one in Redis and one as plain as can be, live through the same history and must always agree."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
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
from libs.testing.bookkeeper import InMemoryBookkeeper
from libs.testing.held import Counted
from libs.testing.ledger import InMemoryLedger
from libs.testing.ledger_books import RedisBooks
from libs.testing.valkey import RedisServer
from libs.testing.valkey_cluster import ValkeyCluster
from services.budget.domain.arrears import Arrear
from services.budget.domain.lease import Extension, LeasePolicy, Reservation, ReservationId
from services.budget.domain.limits import (
    WINDOWS,
    Account,
    Kind,
    Limit,
    LimitName,
    Principal,
    Scope,
    why_uncounted,
)
from services.budget.domain.ports import Ledger
from services.budget.domain.receipt import SETTLED_WITH, Outcome, Settlement
from services.budget.domain.verification import Difference
from services.budget.domain.windows import BUCKETS, SLIDING_SECONDS, Window
from tests.contract.ledgers import LedgerClock, Tried, in_redis, ms

# `make test-ledger`: 12,000 steps on each server and on a cluster.
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
POLICY = LeasePolicy(lifetime_seconds=60)
# Two keys of a user, two of a team, and all of one organisation.
PRINCIPALS = (
    Principal(key_id="ada", organisation="acme", user="ada.l", team="compilers"),
    Principal(key_id="ci", organisation="acme", user="ada.l"),
    Principal(key_id="bob", organisation="acme", team="compilers"),
)
ACCOUNTS = (
    Account(Scope.KEY, "ada"),
    Account(Scope.USER, "ada.l"),
    Account(Scope.TEAM, "compilers"),
    Account(Scope.ORGANISATION),
)
# So that some requests reach a limit and others do not: one takes up to 600 micro-dollars, 600 tokens in and 300 out.
MOST = {
    Kind.MONEY: 6_000,
    Kind.INPUT_TOKENS: 3_000,
    Kind.OUTPUT_TOKENS: 3_000,
    Kind.REQUESTS: 8,
    Kind.CONCURRENCY: 6,
}
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


def limit_of(name: LimitName, most: int) -> Limit:
    return Limit(name.account, name.window, most, name.kind, name.soft)


# Often by the minute, which a history lives through more than once; and as often of one kind as of another.
WINDOWS_OF = {
    kind: [each for each in (Window.MINUTE, Window.MINUTE, *Window) if not why_uncounted(kind, each)] for kind in Kind
}
NAMES = st.sampled_from(Kind).flatmap(
    lambda kind: st.builds(
        LimitName,
        st.sampled_from(ACCOUNTS),
        st.sampled_from(WINDOWS_OF[kind]),
        st.just(kind),
        st.sampled_from([False, False, True]),
    )
)
LIMITS = NAMES.flatmap(lambda name: st.integers(0, MOST[name.kind]).map(partial(limit_of, name)))

Step = Callable[[Ledger], Awaitable[Any]]


class LedgerMachine(RuleBasedStateMachine):
    """Each rule is done to both; `check` compares what they answered."""

    keeps_limits = True

    def __init__(self, server: RedisServer | ValkeyCluster) -> None:
        super().__init__()
        server.flush()
        self.server = server
        self.loop = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.tried: Tried = self.loop.run(self.stack.enter_async_context(in_redis(server.url, POLICY)))
        self.clock: LedgerClock = self.tried.clock
        self.model = InMemoryLedger(policy=POLICY, now_ms=self.clock)
        self.books = RedisBooks(server.url)
        self.limits: dict[LimitName, Limit] = {}
        # The highest that each hard limit has been; a soft one is no limit.
        self.highest: dict[Counted, float] = {}
        self.asked: list[Reservation] = []
        self.done: list[Step] = []
        self.latest_ms = 0

    def teardown(self) -> None:
        differences = self.loop.run(self.differences())
        self.books.close()
        self.loop.run(self.stack.aclose())
        self.loop.close()
        assert differences == [], "a sum is not what the ledger says"

    async def differences(self) -> list[Difference]:
        """What a verification of every sum finds."""
        findings = self.tried.bookkeeper.verify("acme")
        return [each async for each in findings if isinstance(each, Difference)]

    @initialize(edge=st.sampled_from(EDGES), limits=st.lists(LIMITS, max_size=4))
    def begin(self, edge: str, limits: list[Limit]) -> None:
        self.clock.now_ms = ms(edge)
        for limit in limits:
            self.put_limit(limit)

    @rule(limit=LIMITS)
    def put_limit(self, limit: Limit) -> None:
        self.limits[limit.name] = limit
        counted = Counted(limit.account, limit.kind, limit.window)
        self.highest[counted] = max(self.highest.get(counted, 0), float("inf") if limit.soft else limit.most)
        self.both(lambda ledger: ledger.put_limit("acme", limit))

    @rule(limit=LIMITS)
    def add_limit(self, limit: Limit) -> None:
        if limit.name in self.limits:
            self.both(lambda ledger: ledger.add_limit("acme", limit))
        else:
            self.put_limit(limit)

    @precondition(lambda self: self.limits)
    @rule(which=st.integers(0, 50))
    def remove_limit(self, which: int) -> None:
        name = list(self.limits)[which % len(self.limits)]
        del self.limits[name]
        self.both(lambda ledger: ledger.remove_limit("acme", name))

    @rule(
        principal=st.sampled_from(PRINCIPALS),
        price=st.sampled_from(PRICES),
        tokens=st.tuples(TOKENS, TOKENS, TOKENS),
        replaces=st.none() | st.integers(0, 20),
    )
    def reserve(self, principal: Principal, price: Price, tokens: tuple[int, int, int], replaces: int | None) -> None:
        name = ReservationId(f"r{len(self.asked)}")
        # Often of the same principal, as an attempt at the same request is; else it is none, and nothing is released.
        mine = [each.id for each in self.asked if each.principal == principal or (replaces or 0) % 4 == 0]
        old = mine[replaces % len(mine)] if mine and replaces is not None else None
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

    @rule(
        seconds=st.sampled_from(
            [0.001, 0.999, 1, 20, 30, 40, 59.999, 60, 60.001, 3_540, 3_600, 86_400, 86_460, 30 * 86_400, -30, -7_200]
        )
    )
    def time_passes(self, seconds: float) -> None:
        """Or steps back."""
        self.clock.advance(seconds)

    @invariant()
    def no_time_of_a_windows_length_saw_more_than_its_limit(self) -> None:
        """Whatever the buckets are: by when each amount was booked."""
        if not self.keeps_limits:
            return
        for counted, highest in self.highest.items():
            if counted.kind is Kind.MONEY or counted.window is Window.TOTAL:
                continue
            length_ms = SLIDING_SECONDS[counted.window] * 1000
            bookings = self.model.bookings("acme", counted)
            for first in bookings:
                until = first.booked_ms + length_ms
                within = sum(each.amount for each in bookings if first.booked_ms <= each.booked_ms < until)
                assert within <= highest, (counted, within, highest)

    @invariant()
    def receipts_and_counters_agree(self) -> None:
        counters = self.books.counters("acme").items()
        spent = {where: spent for where, (spent, _) in counters if where[1] in WINDOWS}
        by_receipts = self.books.spent_by_receipts("acme")
        assert {where: amount for where, amount in spent.items() if amount} == {
            where: amount for where, amount in by_receipts.items() if amount
        }

    @invariant()
    def the_counters_are_those_of_the_model(self) -> None:
        for (account, window, identity), stands in self.books.counters("acme").items():
            scope, _, subject = account.partition(":")
            assert min(stands) >= 0
            assert stands == self.model.counter("acme", Account(Scope(scope), subject), Window(window), identity)

    @invariant()
    def the_rates_are_those_of_the_model(self) -> None:
        for counted in self.highest:
            if counted.kind is not Kind.MONEY:
                where = "acme", counted.account, counted.window, self.now_ms, counted.kind
                stands = self.books.used_and_reserved(*where)
                assert min(stands) >= 0
                assert stands == self.model.used_and_reserved(*where), counted

    @invariant()
    def a_sliding_counter_is_the_sum_of_few_buckets(self) -> None:
        for kept, buckets in self.books.sliding("acme"):
            assert kept == sum(buckets.values())
            assert len(buckets) <= BUCKETS + 1
            assert max(buckets, default=0) - min(buckets, default=0) <= BUCKETS

    @invariant()
    def the_receipts_are_those_of_the_model(self) -> None:
        assert sorted(map(repr, self.books.receipts("acme"))) == sorted(map(repr, self.model.receipts("acme")))

    @invariant()
    def the_sums_of_each_day_are_those_of_the_model(self) -> None:
        for day, sums in self.books.spent_by_day("acme").items():
            on = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date()
            assert sums == self.loop.run(InMemoryBookkeeper(self.model).spent_on("acme", on))

    @invariant()
    def the_sums_of_all_days_are_what_the_receipts_came_to(self) -> None:
        costs: dict[str, int] = {}
        total = 0
        for each in self.books.receipts("acme"):
            # Only a correction is about what an earlier receipt has counted: an id that is forgotten may be used anew.
            total += each.cost_micro_usd - (costs[each.reservation_id] if each.outcome is Outcome.CORRECTED else 0)
            costs[each.reservation_id] = each.cost_micro_usd
        days = self.books.spent_by_day("acme").values()
        assert sum(spent.cost_micro_usd for sums in days for spent in sums.values()) == total

    def one(self, which: int) -> Reservation:
        return self.asked[which % len(self.asked)]

    def check(self, step: Step) -> None:
        self.done.append(step)
        self.both(step)

    @property
    def now_ms(self) -> int:
        """The ledger's time, which never runs back."""
        self.latest_ms = max(self.latest_ms, self.clock.now_ms)
        return self.latest_ms

    def both(self, step: Step) -> None:
        before = self.standing()
        assert self.loop.run(answer(self.tried.ledger, step)) == self.loop.run(answer(self.model, step))
        if not self.keeps_limits:
            return
        for name, (was, will) in {name: (was, self.standing()[name]) for name, was in before.items()}.items():
            assert will <= max(was, self.limits[name].most), name

    def standing(self) -> dict[LimitName, int]:
        """What is used and reserved of each hard limit, by what Redis holds."""
        return {
            name: sum(self.books.used_and_reserved("acme", name.account, name.window, self.now_ms, name.kind))
            for name in self.limits
            if not name.soft
        }


class LateMachine(LedgerMachine):
    """That ledger is away now and then, and is told afterwards what was spent: so much passes its limits."""

    keeps_limits = False

    @precondition(lambda self: self.asked)
    @rule(
        which=st.integers(0, 50),
        unheard=st.booleans(),
        tokens=st.none() | st.tuples(TOKENS, TOKENS, TOKENS),
        outcome=st.sampled_from(sorted(SETTLED_WITH)),
        seconds_ago=st.sampled_from([-60, 0, 59, 3_600, 86_000, 90_000, 40 * 86_400]),
    )
    def book(
        self, which: int, unheard: bool, tokens: tuple[int, int, int] | None, outcome: Any, seconds_ago: int
    ) -> None:
        reservation = self.one(which)
        if unheard:  # else it may have been, and have ended in any way
            reservation = replace(reservation, id=ReservationId(f"r{len(self.asked)}"))
            self.asked.append(reservation)
        settlement = Settlement(reservation.id, "acme", usage(tokens), outcome, "why") if tokens else None
        at_seconds = self.clock.now_ms / 1000 - seconds_ago
        arrear = Arrear(reservation, at_seconds, "settled" if settlement else "expired", settlement)
        self.check(lambda ledger: ledger.book(arrear))


class ClusterMachine(LedgerMachine):
    """The same on a cluster, where a replica takes its primary's place now and then."""

    @rule()
    def promote(self) -> None:
        assert isinstance(self.server, ValkeyCluster)
        self.server.promote()


def usage(tokens: tuple[int, int, int]) -> Usage:
    fresh, cached, output = tokens
    return Usage(fresh + cached, cached, output, UsageSource.ENGINE)


async def answer(ledger: Ledger, step: Step) -> object:
    """What it returned; of an error everything that its caller sees."""
    try:
        answered = await step(ledger)
        # States are in no order.
        return set(answered) if isinstance(answered, tuple) else answered
    except TokenwayError as error:
        return error.reason, error.message, error.metadata, error.retry_after_seconds, error.quotas


@pytest.mark.timeout(3_600 if LONG else 300)
def test_the_ledger_in_redis_lives_as_its_model_does(redis_servers: RedisServer) -> None:
    live(partial(LedgerMachine, redis_servers), histories=30)


@pytest.mark.timeout(3_600 if LONG else 300)
def test_the_ledger_that_was_away_lives_as_its_model_does(redis_servers: RedisServer) -> None:
    live(partial(LateMachine, redis_servers), histories=20)


@pytest.mark.cluster
@pytest.mark.timeout(3_600 if LONG else 300)
def test_the_ledger_on_a_cluster_lives_as_its_model_does(valkey_cluster: ValkeyCluster) -> None:
    live(partial(ClusterMachine, valkey_cluster), histories=15)


def live(machine: Callable[[], LedgerMachine], *, histories: int) -> None:
    """So many short histories; in the long profile 300 of 40 steps."""
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]  # any callable that makes one will do
        settings=settings(
            max_examples=300 if LONG else histories,
            stateful_step_count=40 if LONG else 30,
            deadline=None,  # a shared machine
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
