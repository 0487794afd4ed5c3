"""How often, and how long between: without a second of waiting."""

from __future__ import annotations

import pytest

from libs.errors import Reason, TokenwayError
from libs.resilience.retry import Retry

FULL = TokenwayError(Reason.QUEUE_FULL, "full")


class Failing:
    """Fails so often, then answers; remembers the waits."""

    def __init__(self, *errors: BaseException, attempts: int = 3, remaining_seconds: float | None = None) -> None:
        self._errors, self._attempts, self._remaining = list(errors), attempts, remaining_seconds
        self.calls = 0
        self.waits: list[float] = []

    async def run(self) -> str:
        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        retry = Retry(attempts=self._attempts, wait_min_seconds=1, wait_max_seconds=10)
        retrying = retry.of(
            lambda error: error.reason is Reason.QUEUE_FULL, sleep=sleep, remaining_seconds=lambda: self._remaining
        )
        async for attempt in retrying:
            with attempt:
                self.calls += 1
                if self._errors:
                    raise self._errors.pop(0)
                return "answer"
        raise AssertionError


async def test_it_is_tried_until_it_succeeds() -> None:
    failing = Failing(FULL, FULL)
    assert await failing.run() == "answer"
    assert (failing.calls, len(failing.waits)) == (3, 2)


async def test_after_the_last_attempt_its_error_is_raised_itself() -> None:
    last = TokenwayError(Reason.QUEUE_FULL, "the last one")
    failing = Failing(FULL, FULL, last)
    with pytest.raises(TokenwayError) as caught:
        await failing.run()
    assert caught.value is last
    assert (failing.calls, len(failing.waits)) == (3, 2), "nobody waits after the last attempt"


async def test_the_servers_own_time_is_kept() -> None:
    failing = Failing(TokenwayError(Reason.QUEUE_FULL, "full", retry_after_seconds=42))
    await failing.run()
    assert failing.waits == [42]


async def test_waits_grow_within_their_limits_and_differ() -> None:
    seen: list[list[float]] = []
    for _ in range(50):
        failing = Failing(*[FULL] * 6, attempts=7)
        await failing.run()
        seen.append(failing.waits)
    assert all(1 <= wait <= 10 for waits in seen for wait in waits)
    for number in range(6):
        assert len({waits[number] for waits in seen}) > 40, "callers that failed together must not return together"
    assert max(waits[0] for waits in seen) <= 2 < max(waits[5] for waits in seen)


@pytest.mark.parametrize(
    "error", [TokenwayError(Reason.INVALID_REQUEST, "no"), ZeroDivisionError(), KeyboardInterrupt()]
)
async def test_what_is_not_retryable_ends_it(error: BaseException) -> None:
    failing = Failing(error)
    with pytest.raises(type(error)):
        await failing.run()
    assert (failing.calls, failing.waits) == (1, [])


async def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    failing = Failing(FULL, remaining_seconds=0.5)
    with pytest.raises(TokenwayError, match="full"):
        await failing.run()
    assert (failing.calls, failing.waits) == (1, [])
