"""Retries as data; tenacity drives them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import tenacity

from libs.errors import TokenwayError


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and how long to wait between: exponential with full jitter, the server's own RetryInfo first."""

    attempts: int
    wait_min_seconds: float
    wait_max_seconds: float

    def of(
        self,
        retryable: Callable[[TokenwayError], bool],
        *,
        sleep: Callable[[float], Awaitable[None]],
        remaining_seconds: Callable[[], float | None] = lambda: None,
    ) -> tenacity.AsyncRetrying:
        """Runs attempts until one succeeds, and raises the last error.

        An error that is not retryable ends it; so does a wait that would outlast the remaining time: whoever waits for
        the answer learns the cause now rather than a time-out later.
        """

        def worth_it(state: tenacity.RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            return isinstance(error, TokenwayError) and retryable(error)

        def enough(state: tenacity.RetryCallState) -> bool:
            remaining = remaining_seconds()
            too_late = remaining is not None and state.upcoming_sleep >= remaining
            return state.attempt_number >= self.attempts or too_late

        return tenacity.AsyncRetrying(
            retry=worth_it,
            stop=enough,
            wait=self._wait,
            sleep=sleep,
            reraise=True,
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_seconds if isinstance(error, TokenwayError) else None
        if asked is not None:
            return asked
        # The first window is as wide as the shortest wait: callers that failed together do not return together.
        window = tenacity.wait_random_exponential(
            multiplier=2 * self.wait_min_seconds, min=self.wait_min_seconds, max=self.wait_max_seconds
        )
        return window(state)
