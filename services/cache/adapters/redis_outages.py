"""One Redis that may be away: quick to say so, quick to be back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from redis import exceptions
from redis.asyncio import Redis

from libs.errors import Reason, TokenwayError

_RETRY_AFTER_SECONDS = 1.0


class Outages:
    """Turns what Redis cannot do now into SERVICE_UNAVAILABLE, and logs when that begins and when it ends."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._away = False
        self._log = structlog.get_logger("cache")

    @asynccontextmanager
    async def guarded(self) -> AsyncIterator[None]:
        """Surrounds one call."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except TimeoutError as error:
            raise self._began(f"no answer within {self._timeout_seconds:g} s") from error
        except (exceptions.RedisError, OSError) as error:
            # A refusal (out of memory, read-only, loading) costs the callers the same as an absence: a miss.
            raise self._began(type(error).__name__) from error
        self._ended()

    async def check(self, redis: Redis) -> None:
        """Tells the log at once if Redis is away; the cache starts all the same."""
        with suppress(TokenwayError):
            async with self.guarded():
                await redis.ping()

    def _began(self, why: str) -> TokenwayError:
        if not self._away:
            self._away = True
            self._log.warning("redis is away: every lookup is a miss, nothing is stored", why=why)
        message = f"the cache's Redis is away ({why}); go on without the cache, it returns by itself"
        return TokenwayError(
            Reason.SERVICE_UNAVAILABLE,
            message,
            metadata={"service": "cache"},
            retry_after_seconds=_RETRY_AFTER_SECONDS,
        )

    def _ended(self) -> None:
        if self._away:
            self._away = False
            self._log.info("redis is back")
