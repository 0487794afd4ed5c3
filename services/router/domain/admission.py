"""A limit on the requests in flight: what is over it is refused at once, so that those inside keep their pace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from libs.errors import QuotaViolation, Reason, TokenwayError

_RETRY_AFTER_SECONDS = 1.0


class Admission:
    """Counts the requests of this process."""

    def __init__(self, *, max_concurrent_requests: int) -> None:
        self._limit = max_concurrent_requests
        self._running = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Holds a place for the block; CONCURRENCY_EXCEEDED when none is free."""
        if self._running >= self._limit:
            raise self._full()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def _full(self) -> TokenwayError:
        message = f"{self._running} requests are running, and this router takes {self._limit} at once: ask again"
        return TokenwayError(
            Reason.CONCURRENCY_EXCEEDED,
            message,
            metadata={"limit": str(self._limit), "running": str(self._running)},
            retry_after_seconds=_RETRY_AFTER_SECONDS,
            quotas=(QuotaViolation("router:concurrency", message),),
        )
