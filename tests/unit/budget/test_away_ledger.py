"""What may be spent while the ledger is away, and how it comes into the ledger afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.money import Price, Usage, UsageSource
from libs.testing.clock import ManualClock
from libs.testing.journal import InMemoryJournal
from libs.testing.ledger import InMemoryLedger
from services.budget.domain.arrears import BOOKED_LATER, Arrear, Arrears, AwayTerms
from services.budget.domain.away_ledger import AwayLedger
from services.budget.domain.errors import budget_unavailable
from services.budget.domain.lease import Extension, Lease, LeasePolicy, Reservation, ReservationId
from services.budget.domain.limits import Account, Kind, Limit, Principal, Scope
from services.budget.domain.receipt import Outcome, Receipt, Settlement
from services.budget.domain.windows import Window

OPEN, CLOSED = "acme", "umbrella"
CAP = 3_000
LEASE_SECONDS = 60
DAY_SECONDS = 86_400
# A micro-dollar a token.
PLAIN = Price(1_000_000, 1_000_000, 1_000_000, "v1")


class CrashError(Exception):
    """The process is gone."""


class Away:
    """A ledger that can be away. With `hears`, it does what it is told and nobody hears its answer, as one frozen."""

    def __init__(self, inner: InMemoryLedger, step: Callable[[], None]) -> None:
        self._inner, self._step = inner, step
        self.is_away = self.hears = False

    def __getattr__(self, verb: str) -> Any:
        async def call(*arguments: Any) -> Any:
            if self.is_away:
                if self.hears:
                    await getattr(self._inner, verb)(*arguments)
                raise budget_unavailable("Redis did not answer within 0.8 s")
            self._step()
            answer = await getattr(self._inner, verb)(*arguments)
            self._step()
            return answer

        return call


class Journal(InMemoryJournal):
    """Its writer may die before a line, and after it."""

    def __init__(self, step: Callable[[], None]) -> None:
        super().__init__()
        self._step = step
        self.is_slow = False

    async def append(self, line: Any) -> None:
        self._step()
        if self.is_slow:
            await asyncio.sleep(0)
        await super().append(line)
        self._step()

    async def rewrite(self, lines: Any) -> None:
        self._step()
        await super().rewrite(lines)
        self._step()


class Told:
    """An AwayWatcher that remembers."""

    def __init__(self) -> None:
        self.decisions: list[str] = []
        self.micro_usd = 0

    def decided(self, decision: str) -> None:
        self.decisions.append(decision)

    def unbooked(self, micro_usd: int) -> None:
        self.micro_usd = micro_usd


class Replica:
    """One that may crash and start again; the ledger and the journal outlive it."""

    def __init__(self, *, cap: int = CAP, window: Window = Window.DAY, ledger: InMemoryLedger | None = None) -> None:
        self.clock = ManualClock()
        self.books = ledger or InMemoryLedger(
            policy=LeasePolicy(LEASE_SECONDS), now_ms=lambda: int(self.clock.now() * 1000)
        )
        self.redis, self.journal = Away(self.books, self._step), Journal(self._step)
        self.terms = {OPEN: AwayTerms(cap, window)}
        self.crash_after: int | None = None
        self.restart()

    def restart(self) -> None:
        self.told = Told()
        self.ledger = AwayLedger(
            self.redis,
            journal=self.journal,
            terms=self.terms,
            lease_seconds=LEASE_SECONDS,
            clock=self.clock,
            watcher=self.told,
        )

    def away(self, *, hears: bool = False) -> None:
        self.redis.is_away, self.redis.hears = True, hears

    def back(self) -> None:
        self.redis.is_away = False

    def _step(self) -> None:
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                raise CrashError

    def spent(self, *, scope: Account | None = None) -> int:
        """By the ledger, without what is only reserved."""
        now_ms = int(self.clock.now() * 1000)
        spent, _ = self.books.used_and_reserved(OPEN, scope or Account(Scope.ORGANISATION), Window.TOTAL, now_ms)
        return spent

    def receipts(self) -> list[tuple[str, int, Outcome, str]]:
        return [
            (each.reservation_id, each.cost_micro_usd, each.outcome, each.why) for each in self.books.receipts(OPEN)
        ]


@pytest.fixture
def replica() -> Replica:
    return Replica()


def asked(name: str = "r1", *, organisation: str = OPEN, most: int = 990, replaces: str = "") -> Reservation:
    """10 tokens in and 990 out: 1,000 micro-dollars, a third of the cap."""
    return Reservation(
        id=ReservationId(name),
        request_id=f"q-{name}",
        principal=Principal(key_id="ada", organisation=organisation),
        model="small",
        price=PLAIN,
        max_input_tokens=10,
        want_output_tokens=100,
        max_output_tokens=most,
        replaces=ReservationId(replaces) if replaces else None,
    )


def settled(name: str = "r1", output: int = 90, *, organisation: str = OPEN, why: str = "cheapest") -> Settlement:
    usage = Usage(10, 0, output, UsageSource.ENGINE)
    return Settlement(ReservationId(name), organisation, usage, Outcome.FINISHED, why)


def extended(name: str = "r1", seq: int = 1) -> Extension:
    return Extension(ReservationId(name), OPEN, seq, Usage(10, 0, 50, UsageSource.ENGINE), 100)


async def refused(doing: Any, reason: Reason) -> TokenwayError:
    with pytest.raises(TokenwayError) as caught:
        await doing
    assert caught.value.reason is reason, caught.value
    return caught.value


# Admitting


async def test_an_organisation_that_is_closed_is_refused_as_ever(replica: Replica) -> None:
    replica.away()

    await refused(replica.ledger.reserve(asked(organisation=CLOSED)), Reason.BUDGET_UNAVAILABLE)

    assert replica.told.decisions == []
    assert replica.journal.lines == []


async def test_an_open_one_gets_the_whole_answer_at_once(replica: Replica) -> None:
    replica.away()

    lease = await replica.ledger.reserve(asked())

    assert lease == Lease(990, LEASE_SECONDS, 1_000, whole=True)
    assert await replica.ledger.reserve(asked()) == lease
    assert replica.told.decisions == ["admitted"]
    assert replica.told.micro_usd == 1_000


async def test_what_the_ledger_refuses_is_refused(replica: Replica) -> None:
    await replica.books.put_limit(OPEN, Limit(Account(Scope.ORGANISATION), Window.DAY, 5))

    await refused(replica.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)


async def test_a_spent_limit_does_not_hold_while_the_ledger_is_away_but_the_cap_does(replica: Replica) -> None:
    await replica.books.put_limit(OPEN, Limit(Account(Scope.ORGANISATION), Window.DAY, 5))
    replica.away()

    for number in range(3):
        await replica.ledger.reserve(asked(f"r{number}"))
    error = await refused(replica.ledger.reserve(asked("r3")), Reason.BUDGET_UNAVAILABLE)

    assert "may spend unchecked $0 is left here, and this request may cost $0.001" in error.message
    assert error.retry_after_seconds
    assert replica.told.decisions == ["admitted"] * 3 + ["refused"]


async def test_where_cached_input_is_the_dearer_one_the_worst_is_held_at_its_price(replica: Replica) -> None:
    replica.away()
    dear = replace(asked(), price=Price(1_000_000, 50_000_000, 1_000_000, "v1"))

    await replica.ledger.reserve(dear)

    assert replica.told.micro_usd == 10 * 50 + 990


async def test_what_a_request_does_not_use_is_there_for_the_next(replica: Replica) -> None:
    replica.away()
    for number in range(3):
        await replica.ledger.reserve(asked(f"r{number}"))
    await replica.ledger.settle(settled("r0", 90))
    await replica.ledger.release(OPEN, ReservationId("r1"))

    await replica.ledger.reserve(asked("r3"))
    await refused(replica.ledger.reserve(asked("r4", most=900)), Reason.BUDGET_UNAVAILABLE)
    await replica.ledger.reserve(asked("r5", most=890))

    assert replica.told.micro_usd == CAP


async def test_the_cap_opens_once_a_window_however_often_the_ledger_comes_and_goes(replica: Replica) -> None:
    for number in range(3):
        replica.away()
        await replica.ledger.reserve(asked(f"r{number}"))
        await replica.ledger.settle(settled(f"r{number}", 990))
        replica.back()
        await replica.ledger.sweep()
        replica.restart()
    replica.away()

    await refused(replica.ledger.reserve(asked("r3")), Reason.BUDGET_UNAVAILABLE)
    replica.clock.advance(DAY_SECONDS)

    await replica.ledger.reserve(asked("r4"))


async def test_nothing_is_admitted_that_cannot_be_written_down(replica: Replica) -> None:
    replica.away()
    replica.journal.is_full = True

    await refused(replica.ledger.reserve(asked()), Reason.BUDGET_UNAVAILABLE)
    replica.journal.is_full = False
    for number in range(3):
        await replica.ledger.reserve(asked(f"r{number}"))

    assert len(replica.journal.lines) == 3


# While it lasts


async def test_it_ends_as_it_began_also_when_the_ledger_is_back_meanwhile(replica: Replica) -> None:
    replica.away()
    await replica.ledger.reserve(asked())
    replica.back()

    replica.clock.advance(50)
    lease = await replica.ledger.extend(extended())
    replica.clock.advance(50)
    await replica.ledger.sweep()
    receipt = await replica.ledger.settle(settled(output=90))

    assert lease == Lease(990, LEASE_SECONDS, 1_000, whole=True)
    assert replica.spent() == 0, "the next sweep books it"
    assert receipt == Receipt(
        request_id="q-r1",
        reservation_id=ReservationId("r1"),
        key_id="ada",
        model="small",
        price=PLAIN,
        usage=Usage(10, 0, 90, UsageSource.ENGINE),
        cost_micro_usd=100,
        outcome=Outcome.FINISHED,
        why=f"cheapest; {BOOKED_LATER}",
        uncovered_micro_usd=0,
        booked_at_seconds=replica.clock.now(),
    )
    await refused(replica.ledger.extend(extended(seq=2)), Reason.RESERVATION_CLOSED)
    assert await replica.ledger.settle(settled(output=90)) == receipt
    assert await replica.ledger.release(OPEN, ReservationId("r1")) == 0


async def test_what_is_given_back_has_a_receipt_of_nothing(replica: Replica) -> None:
    replica.away()
    await replica.ledger.reserve(asked())

    released = [await replica.ledger.release(OPEN, ReservationId("r1")) for _ in range(2)]
    receipt = await replica.ledger.settle(settled())

    assert released == [1_000, 1_000]
    assert (receipt.cost_micro_usd, receipt.outcome, receipt.usage) == (0, Outcome.RELEASED, Usage())


async def test_no_organisation_ends_anothers(replica: Replica) -> None:
    replica.away()
    await replica.ledger.reserve(asked())

    await refused(replica.ledger.settle(settled(organisation=CLOSED)), Reason.BUDGET_UNAVAILABLE)
    await refused(replica.ledger.release(CLOSED, ReservationId("r1")), Reason.BUDGET_UNAVAILABLE)

    assert replica.told.micro_usd == 1_000


async def test_who_was_refused_gives_back_nothing_and_is_done(replica: Replica) -> None:
    replica.away()
    await refused(replica.ledger.reserve(asked(most=CAP)), Reason.BUDGET_UNAVAILABLE)
    replica.back()

    await refused(replica.ledger.release(OPEN, ReservationId("r1")), Reason.RESERVATION_NOT_FOUND)


async def test_what_the_ledger_gave_is_not_taken_over(replica: Replica) -> None:
    await replica.ledger.reserve(asked())
    replica.away()

    await refused(replica.ledger.extend(extended()), Reason.BUDGET_UNAVAILABLE)
    await refused(replica.ledger.settle(settled()), Reason.BUDGET_UNAVAILABLE)


async def test_what_another_replica_admitted_is_to_be_asked_for_again_as_long_as_it_may_be_unbooked(
    replica: Replica,
) -> None:
    await refused(replica.ledger.extend(extended("of another")), Reason.RESERVATION_NOT_FOUND)
    replica.away()
    await refused(replica.ledger.extend(extended("of another")), Reason.BUDGET_UNAVAILABLE)
    replica.back()

    for doing in (
        replica.ledger.extend(extended("of another")),
        replica.ledger.settle(settled("of another")),
    ):
        await refused(doing, Reason.BUDGET_UNAVAILABLE)
    await refused(replica.ledger.settle(settled("of another", organisation=CLOSED)), Reason.RESERVATION_NOT_FOUND)
    replica.clock.advance(LEASE_SECONDS)

    await refused(replica.ledger.settle(settled("of another")), Reason.RESERVATION_NOT_FOUND)


# Afterwards


async def test_afterwards_everything_is_in_the_ledger_once_and_says_so(replica: Replica) -> None:
    replica.away()
    for name in ("r1", "r2", "r3"):
        await replica.ledger.reserve(asked(name))
    await replica.ledger.settle(settled("r2", 90))
    await replica.ledger.settle(settled("r1", 40, why=""))
    await replica.ledger.release(OPEN, ReservationId("r3"))
    replica.back()

    for _ in range(2):
        await replica.ledger.sweep()

    assert replica.receipts() == [
        ("r1", 50, Outcome.FINISHED, BOOKED_LATER),
        ("r2", 100, Outcome.FINISHED, f"cheapest; {BOOKED_LATER}"),
    ]
    assert replica.told.micro_usd == 0
    assert (await replica.ledger.settle(settled("r2", 90))).cost_micro_usd == 100, "the ledger knows it now"


async def test_a_silent_routers_lease_is_presumed_and_its_late_word_lowers_that(replica: Replica) -> None:
    replica.away()
    await replica.ledger.reserve(asked("r1"))
    await replica.ledger.reserve(asked("r2"))
    replica.clock.advance(LEASE_SECONDS)
    await refused(replica.ledger.sweep(), Reason.BUDGET_UNAVAILABLE)
    before_it_is_booked = await replica.ledger.settle(settled("r1"))
    replica.back()
    await replica.ledger.sweep()
    presumed = replica.spent()

    after_it_is_booked = await replica.ledger.settle(settled("r2"))

    assert presumed == 100 + 1_000
    assert (before_it_is_booked.cost_micro_usd, after_it_is_booked.cost_micro_usd) == (100, 100)
    assert replica.spent() == 200


async def test_a_router_that_speaks_while_others_are_presumed_is_heard(replica: Replica) -> None:
    replica.away()
    for name in ("r1", "r2"):
        await replica.ledger.reserve(asked(name))
    replica.back()
    replica.clock.advance(LEASE_SECONDS)
    replica.journal.is_slow = True

    sweeping = asyncio.create_task(replica.ledger.sweep())
    await asyncio.sleep(0)  # to the line about r1
    receipt = await replica.ledger.settle(settled("r2"))
    await sweeping

    assert receipt.cost_micro_usd == 100
    assert replica.spent() == 1_000 + 100


async def test_what_a_frozen_ledger_heard_all_the_same_is_given_back(replica: Replica) -> None:
    await replica.books.put_limit(OPEN, Limit(Account(Scope.ORGANISATION), Window.TOTAL, 9, Kind.CONCURRENCY))
    replica.away(hears=True)
    for name in ("r1", "r2"):
        await replica.ledger.reserve(asked(name))
    await replica.ledger.settle(settled("r1"))
    await replica.ledger.release(OPEN, ReservationId("r2"))
    replica.back()

    await replica.ledger.sweep()

    (state,) = await replica.books.usage(asked().principal)
    assert (state.used, state.reserved) == (0, 0)
    assert replica.spent() == 100


@pytest.mark.parametrize("first_is_away", [True, False])
@pytest.mark.parametrize("second_is_away", [True, False])
async def test_a_fallback_gives_back_what_it_replaces_wherever_that_is(
    replica: Replica, first_is_away: bool, second_is_away: bool
) -> None:
    replica.redis.is_away = first_is_away
    await replica.ledger.reserve(asked("r1"))
    replica.redis.is_away = second_is_away
    await replica.ledger.reserve(asked("r2", replaces="r1"))
    await replica.ledger.settle(settled("r2"))
    replica.back()
    replica.clock.advance(LEASE_SECONDS)

    await replica.ledger.sweep()

    assert replica.spent() == 100
    assert replica.told.micro_usd == 0


async def test_a_ledger_that_goes_away_again_in_the_midst_is_told_the_rest_later(replica: Replica) -> None:
    replica.away()
    for name in ("r1", "r2"):
        await replica.ledger.reserve(asked(name))
        await replica.ledger.settle(settled(name))
    replica.back()
    book = replica.books.book

    async def once(arrear: Any) -> Any:
        replica.away()
        return await book(arrear)

    replica.books.book = once  # type: ignore[method-assign]

    await refused(replica.ledger.sweep(), Reason.BUDGET_UNAVAILABLE)
    assert replica.told.micro_usd == 100
    replica.books.book = book  # type: ignore[method-assign]
    replica.back()
    await replica.ledger.sweep()

    assert replica.spent() == 200


async def scenario(replica: Replica, heard: list[str]) -> None:
    """Two answers, one given back, one whose router never says; then the ledger is back. `heard`: by the router."""
    replica.away()
    for name in ("r1", "r2", "r3"):
        await replica.ledger.reserve(asked(name))
        heard.append(f"{name} reserved")
    await replica.ledger.settle(settled("r1"))
    heard.append("r1 ended")
    await replica.ledger.release(OPEN, ReservationId("r2"))
    heard.append("r2 ended")
    await replica.ledger.reserve(asked("r4"))
    heard.append("r4 reserved")
    await replica.ledger.settle(settled("r4", 40))
    heard.append("r4 ended")
    replica.back()
    replica.clock.advance(LEASE_SECONDS)
    await replica.ledger.sweep()


def unbooked(replica: Replica) -> tuple[Arrear, ...]:
    """By the journal."""
    found = Arrears(replica.terms)
    for line in replica.journal.lines:
        found.apply(line)
    return found.all()


async def test_a_crash_at_any_step_loses_nothing_and_doubles_nothing() -> None:
    says = {"r1": 100, "r2": 0, "r3": 1_000, "r4": 50}
    for step in range(100):
        replica, heard = Replica(), list[str]()
        replica.crash_after = step
        try:
            await scenario(replica, heard)
        except CrashError:
            replica.crash_after = None
        else:
            break
        replica.back()
        replica.restart()
        replica.clock.advance(LEASE_SECONDS)
        for _ in range(2):
            await replica.ledger.sweep()

        costs = {name: sum(cost for each, cost, *_ in replica.receipts() if each == name) for name in says}
        for name, cost in says.items():
            # What nobody heard of may have come to pass or not; a lease whose end was not heard may be presumed.
            may_be = {cost} if f"{name} ended" in heard else {cost, 1_000}
            assert costs[name] in may_be | ({0} if f"{name} reserved" not in heard else set()), (step, name)
        assert replica.spent() == sum(costs.values()), step
        assert replica.told.micro_usd == 0, step
        assert not unbooked(replica), step
    else:
        pytest.fail("it never came to its end")
    assert step > 20, "every line and every call is a step"


async def test_an_organisation_that_is_closed_since_is_booked_all_the_same(replica: Replica) -> None:
    replica.away()
    await replica.ledger.reserve(asked())
    await replica.ledger.settle(settled())
    replica.terms = {}
    replica.back()
    replica.restart()

    await replica.ledger.sweep()

    assert replica.spent() == 100
    assert replica.journal.lines == []
