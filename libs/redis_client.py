"""The one way in which services connect to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from libs.errors import Reason, TokenwayError
from libs.redis_cluster import Cluster, Command, names_cluster
from libs.settings.redaction import redacted

# Redis does one thing at a time: calls beyond these would queue there instead of here.
_MAX_CONNECTIONS = 64

# A start has no caller who waits: one that gives up on a Redis that is slow for a moment only costs another start.
_START_TIMEOUT_SECONDS = 10.0


class Server(Redis):
    """One server. It takes calls together as a Cluster does, with the same words."""

    def node_of(self, key: str) -> ClusterNode | None:
        """None: there is but one."""
        return None

    async def together(self, node: ClusterNode | None, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands that go in one write; errors are among them."""
        if len(commands) == 1:  # which costs half of a pipeline
            client: Any = self  # its commands have no types
            try:
                return [await client.execute_command(*commands[0])]
            except exceptions.ResponseError as error:
                return [error]
        pipeline = self.pipeline(transaction=False)
        for each in commands:
            pipeline.execute_command(*each)
        return await pipeline.execute(raise_on_error=False)


RedisClient = Server | Cluster


def redis_or_cluster(url: str, *, decode_responses: bool = False) -> RedisClient:
    """Of either kind of URL, by `libs.redis_cluster`; what holds of `redis_client` holds of it."""
    if names_cluster(url):
        return Cluster(url, decode_responses=decode_responses)
    return redis_client(url, decode_responses=decode_responses)


def redis_client(url: str, *, decode_responses: bool = False) -> Server:
    """Of one server. Connects at the first call. ValueError for a URL that is none.

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
    return cast(Server, Server.from_pool(pool))


async def require(
    redis: RedisClient, *, url: str, reason: Reason, timeout_seconds: float = _START_TIMEOUT_SECONDS
) -> None:
    """Fails with that reason, saying where it looked and what to do, when Redis does not answer."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await redis.ping()
            alone = isinstance(redis, Cluster) or not await _in_a_cluster(redis)
    except (TimeoutError, OSError, exceptions.RedisError) as error:
        late = f"no answer within {timeout_seconds:g} s"
        why = late if isinstance(error, TimeoutError) else redacted(str(error)).rstrip(".")
        raise TokenwayError(
            reason,
            f"Redis at {redacted(url)} cannot be used: {why}; start it there, or set REDIS_URL or stores.redis_url to"
            " where it is",
        ) from error
    if not alone:
        raise TokenwayError(
            reason,
            f"Redis at {redacted(url)} is a node of a cluster: let REDIS_URL or stores.redis_url name the cluster, as"
            " redis+cluster://HOST:PORT,HOST:PORT",
        )


async def _in_a_cluster(redis: Redis) -> bool:
    try:
        return bool((await redis.info("cluster")).get("cluster_enabled"))
    except exceptions.ResponseError:  # not every user may ask, nor every proxy answer
        return False
