"""One Redis, with an answer within a second or a clear refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from libs.errors import Reason, TokenwayError
from libs.settings.redaction import redacted
from services.budget.domain.errors import budget_unavailable

# One script runs at a time in Redis, so more connections than that only queue there instead of here.
_MAX_CONNECTIONS = 32

# Redis lives, and will not do this now. Any other error in a reply is a bug of ours.
_NOT_NOW = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.NoPermissionError,
)
# These have no class of their own: the disk is full, too few replicas, a script that runs too long.
_NOT_NOW_CODES = ("MISCONF", "NOREPLICAS", "BUSY")


def redis_client(url: str) -> Redis:
    """Connects at the first call. A connection that broke is opened anew once: every verb may be repeated.

    No time limit of redis-py's own on an answer: `or_unavailable` sets one over the whole call, and redis-py drops the
    connection of a call that is cancelled, so that nobody reads another's answer.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_MAX_CONNECTIONS,
        timeout=None,
        socket_timeout=None,
        socket_connect_timeout=None,
        decode_responses=True,
        protocol=2,
        retry=Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,)),
    )
    return Redis.from_pool(pool)


@asynccontextmanager
async def or_unavailable(timeout_seconds: float) -> AsyncIterator[None]:
    """Whatever Redis cannot do now, within that time, is BUDGET_UNAVAILABLE."""
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except TimeoutError as error:
        raise budget_unavailable(f"Redis did not answer within {timeout_seconds:g} s") from error
    except exceptions.RedisError as error:
        if not _is_outage(error):
            raise
        raise budget_unavailable("Redis is away or refuses to write") from error


async def require(redis: Redis, *, url: str, timeout_seconds: float) -> None:
    """Fails, saying what to do, where Redis does not answer."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await redis.ping()
    except (TimeoutError, OSError, exceptions.RedisError) as error:
        late = f"no answer within {timeout_seconds:g} s"
        why = late if isinstance(error, TimeoutError) else redacted(str(error)).rstrip(".")
        raise TokenwayError(
            Reason.BUDGET_UNAVAILABLE,
            f"Redis at {redacted(url)} cannot be used: {why}; start it there, or set REDIS_URL or stores.redis_url to"
            " where it is",
        ) from error


def _is_outage(error: exceptions.RedisError) -> bool:
    return isinstance(error, _NOT_NOW) or str(error).startswith(_NOT_NOW_CODES)
