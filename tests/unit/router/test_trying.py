"""Attempts: every replica once, then a wait; every candidate in turn; until the first token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from libs.errors import Reason, TokenwayError
from libs.resilience.retry import Retry
from libs.testing.clock import ManualClock
from services.router.domain.catalogue import Model
from services.router.domain.engine_wait import EngineWait
from services.router.domain.ports import Attempt, EngineEvent, EngineStarted
from services.router.domain.route import route
from services.router.domain.trying import Begun, Trying
from tests.unit.router.asks import PRINCIPAL, TIERS, ask

SMALL, MEDIUM = TIERS[0], TIERS[1]
FIRST = object()


@dataclass
class ScriptedEngines:
    """Fails as often as it is told to, then answers; remembers every attempt and which are open."""

    failures: list[TokenwayError | None] = field(default_factory=list)
    replica_count: int = 1
    attempts: list[str] = field(default_factory=list)
    open: int = 0
    events: Sequence[object] = (EngineStarted(3, 0), FIRST)

    def ready(self, model: str) -> bool:
        return True

    def replicas(self, model: str) -> int:
        return self.replica_count

    @asynccontextmanager
    async def generate(self, attempt: Attempt) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        self.attempts.append(f"{attempt.number} {attempt.model.name} after {len(attempt.tried)}")
        attempt.tried.add(f"replica-{len(attempt.tried)}")
        self.open += 1
        try:
            if self.failures and (failure := self.failures.pop(0)) is not None:
                raise failure
            yield self._events()
        finally:
            self.open -= 1

    async def _events(self) -> AsyncIterator[EngineEvent]:
        for event in self.events:
            yield event  # type: ignore[misc]


@dataclass
class RecordingAccount:
    """Only what Trying needs of an account."""

    reserved: list[str] = field(default_factory=list)
    refuse: TokenwayError | None = None

    async def reserve(self, model: Model) -> None:
        if self.refuse:
            raise self.refuse
        self.reserved.append(model.name)


@dataclass
class Noted:
    """What a Watcher is told of attempts."""

    lines: list[str] = field(default_factory=list)

    def attempted(self, model: str, *, failure: Reason | None) -> None:
        self.lines.append(f"{model} {failure or 'begun'}")

    def retried(self, model: str, *, after: Reason) -> None:
        self.lines.append(f"again {model} after {after}")

    def fell_back(self, model: str, *, after: Reason) -> None:
        self.lines.append(f"away from {model} after {after}")


@dataclass
class Tried:
    """One request's attempts."""

    engines: ScriptedEngines
    account: RecordingAccount = field(default_factory=RecordingAccount)
    models: Sequence[Model] = (SMALL,)
    waits: list[float] = field(default_factory=list)
    remaining_seconds: float | None = None
    noted: Noted = field(default_factory=Noted)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.wait = EngineWait(self.clock)

    async def begin(self, stack: AsyncExitStack) -> Begun:
        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            self.clock.advance(seconds)

        trying = Trying(
            engines=self.engines,
            retry=Retry(attempts=3, wait_min_seconds=1, wait_max_seconds=10),
            ask=ask(),
            request_id="request",
            account=self.account,  # type: ignore[arg-type]
            watcher=self.noted,  # type: ignore[arg-type]
            wait=self.wait,
            sleep=sleep,
            remaining_seconds=lambda: self.remaining_seconds,
        )
        plan = route(ask(), models=self.models, principal=PRINCIPAL, ready=lambda _: True)
        return await trying.begin(plan, stack)


def error(reason: Reason, retry_after_seconds: float | None = None) -> TokenwayError:
    return TokenwayError(reason, "as scripted", retry_after_seconds=retry_after_seconds)


async def test_the_first_attempt_that_gives_a_token_stays_open_until_its_owner_is_done() -> None:
    tried = Tried(ScriptedEngines())
    async with AsyncExitStack() as stack:
        begun = await tried.begin(stack)
        assert (begun.first, begun.attempt.number, tried.engines.open) == (FIRST, 1, 1)
    assert tried.engines.open == 0


@pytest.mark.parametrize("reason", [Reason.SERVICE_UNAVAILABLE, Reason.ENGINE_DEAD, Reason.DRAINING, Reason.CANCELLED])
async def test_the_other_replica_gets_its_try_without_a_wait(reason: Reason) -> None:
    tried = Tried(ScriptedEngines([error(reason)], replica_count=2))
    async with AsyncExitStack() as stack:
        await tried.begin(stack)
        assert tried.engines.open == 1, "the failed attempt is closed"
    assert tried.engines.attempts == ["1 llama-3-7b after 0", "2 llama-3-7b after 1"]
    assert tried.waits == []


async def test_the_last_candidate_is_tried_again_after_a_wait_and_all_its_replicas_anew() -> None:
    away = error(Reason.SERVICE_UNAVAILABLE)
    tried = Tried(ScriptedEngines([away] * 4, replica_count=2))
    async with AsyncExitStack() as stack:
        assert (await tried.begin(stack)).attempt.number == 5
    assert [each.split()[-1] for each in tried.engines.attempts] == ["0", "1", "0", "1", "0"]
    assert len(tried.waits) == 2


async def test_an_engines_own_retry_time_comes_first() -> None:
    tried = Tried(ScriptedEngines([error(Reason.QUEUE_FULL, retry_after_seconds=7.5)]))
    async with AsyncExitStack() as stack:
        await tried.begin(stack)
    assert tried.waits == [7.5]


async def test_a_wait_that_outlasts_the_deadline_is_not_begun() -> None:
    tried = Tried(ScriptedEngines([error(Reason.QUEUE_FULL, retry_after_seconds=7.5)]), remaining_seconds=7)
    async with AsyncExitStack() as stack:
        with pytest.raises(TokenwayError) as caught:
            await tried.begin(stack)
    assert (caught.value.reason, tried.waits) == (Reason.QUEUE_FULL, [])


async def test_a_dead_model_is_not_waited_for_while_another_is_left() -> None:
    tried = Tried(ScriptedEngines([error(Reason.ENGINE_DEAD)]), models=(SMALL, MEDIUM))
    async with AsyncExitStack() as stack:
        assert (await tried.begin(stack)).attempt.model == MEDIUM
    assert (tried.account.reserved, tried.waits) == ([MEDIUM.name], [])


async def test_no_other_model_is_tried_without_money_for_it() -> None:
    refused = error(Reason.BUDGET_EXCEEDED)
    tried = Tried(ScriptedEngines([error(Reason.ENGINE_DEAD)]), RecordingAccount(refuse=refused), (SMALL, MEDIUM))
    async with AsyncExitStack() as stack:
        with pytest.raises(TokenwayError) as caught:
            await tried.begin(stack)
    assert caught.value is refused
    assert tried.engines.attempts == ["1 llama-3-7b after 0"]


async def test_what_only_the_caller_can_mend_is_raised_at_once() -> None:
    tried = Tried(ScriptedEngines([error(Reason.INVALID_REQUEST)], replica_count=2), models=(SMALL, MEDIUM))
    async with AsyncExitStack() as stack:
        with pytest.raises(TokenwayError) as caught:
            await tried.begin(stack)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert len(tried.engines.attempts) == 1


async def test_when_all_fail_each_is_named_and_none_stays_open() -> None:
    tried = Tried(ScriptedEngines([error(Reason.ENGINE_DEAD)] * 9), models=(SMALL, MEDIUM))
    async with AsyncExitStack() as stack:
        with pytest.raises(TokenwayError) as caught:
            await tried.begin(stack)
    assert caught.value.reason is Reason.ALL_CANDIDATES_FAILED
    assert caught.value.metadata == {"attempts": "4", SMALL.name: "ENGINE_DEAD", MEDIUM.name: "ENGINE_DEAD"}
    assert tried.engines.open == 0


async def test_an_engine_that_begins_without_saying_so_is_broken() -> None:
    tried = Tried(ScriptedEngines(events=(FIRST,)))
    async with AsyncExitStack() as stack:
        with pytest.raises(TokenwayError) as caught:
            await tried.begin(stack)
    assert caught.value.reason is Reason.ALL_CANDIDATES_FAILED
    assert tried.engines.open == 0


async def test_a_bug_is_not_retried() -> None:
    tried = Tried(ScriptedEngines([ZeroDivisionError()], replica_count=2))  # type: ignore[list-item]
    async with AsyncExitStack() as stack:
        with pytest.raises(ZeroDivisionError):
            await tried.begin(stack)
    assert (len(tried.engines.attempts), tried.engines.open) == (1, 0)


async def test_every_attempt_is_told_with_its_result_and_why_it_was_made() -> None:
    full, dead = error(Reason.QUEUE_FULL), error(Reason.ENGINE_DEAD)
    tried = Tried(ScriptedEngines([full, dead]), models=(SMALL, MEDIUM))
    async with AsyncExitStack() as stack:
        await tried.begin(stack)
    assert tried.noted.lines == [
        "llama-3-7b QUEUE_FULL",
        "again llama-3-7b after QUEUE_FULL",
        "llama-3-7b ENGINE_DEAD",
        "away from llama-3-7b after ENGINE_DEAD",
        "mixtral-8x7b begun",
    ]


async def test_an_attempt_whose_caller_leaves_is_told_too() -> None:
    tried = Tried(ScriptedEngines([asyncio.CancelledError()]))  # type: ignore[list-item]
    async with AsyncExitStack() as stack:
        with pytest.raises(asyncio.CancelledError):
            await tried.begin(stack)
    assert tried.noted.lines == ["llama-3-7b CANCELLED"]


async def test_the_wait_from_one_try_to_the_next_is_the_engines() -> None:
    tried = Tried(ScriptedEngines([error(Reason.QUEUE_FULL, retry_after_seconds=7.5)]))
    async with AsyncExitStack() as stack:
        await tried.begin(stack)
    assert tried.wait.seconds == 7.5
