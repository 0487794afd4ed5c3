"""The one way in which services connect to Redis."""

from __future__ import annotations

import asyncio

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from libs.errors import Reason, TokenwayError
from libs.settings.redaction import redacted

# Redis does one thing at a time: calls beyond these would queue there instead of here.
_MAX_CONNECTIONS = 64


def redis_client(url: str, *, decode_responses: bool = False) -> Redis:
    """Connects at the first call. ValueError for a URL that is none.

    A connection that broke while it lay idle is opened anew once, so that a restart of Redis costs no call; so whatever
    is sent must bear being sent twice. There are no time limits here: callers set one over the whole call
    (`asyncio.timeout`), waiting for a connection included, and redis-py drops the connection of a call that is
    cancelled, so that nobody reads another's answer.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_MAX_CONNECTIONS,
        timeout=None,
        socket_timeout=None,
        socket_connect_timeout=None,
        decode_responses=decode_responses,
        protocol=2,
        retry=Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,)),
    )
    return Redis.from_pool(pool)


async def require(redis: Redis, *, url: str, timeout_seconds: float, reason: Reason) -> None:
    """Fails with that reason, saying where it looked and what to do, when Redis does not answer."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await redis.ping()
    except (TimeoutError, OSError, exceptions.RedisError) as error:
        late = f"no answer within {timeout_seconds:g} s"
        why = late if isinstance(error, TimeoutError) else redacted(str(error)).rstrip(".")
        raise TokenwayError(
            reason,
            f"Redis at {redacted(url)} cannot be used: {why}; start it there, or set REDIS_URL or stores.redis_url to"
            " where it is",
        ) from error
