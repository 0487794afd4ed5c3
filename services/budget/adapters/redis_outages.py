"""One Redis, with an answer within a second or a clear refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis import exceptions

from services.budget.domain.errors import budget_unavailable

# Redis lives, and will not do this now. Any other error in a reply is a bug of ours.
_NOT_NOW = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.ClusterError,
    exceptions.NoPermissionError,
)
# These have no class of their own: the disk is full, too few replicas, a script that runs too long.
_NOT_NOW_CODES = ("MISCONF", "NOREPLICAS", "BUSY")


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


def _is_outage(error: exceptions.RedisError) -> bool:
    return isinstance(error, _NOT_NOW) or str(error).startswith(_NOT_NOW_CODES)
