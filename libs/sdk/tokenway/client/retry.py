"""Trying again, for callers that want to: the client itself never does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from libs.errors import TokenwayError

Result = TypeVar("Result")


async def again(
    attempt: Callable[[], Awaitable[Result]],
    *,
    attempts: int = 3,
    longest_wait_seconds: float = 30,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Result:
    """Makes attempts for as long as the mesh says when the next one may do better.

    `answer = await again(lambda: client.generate("…"))`

    Raises the error of the last attempt; at once where the mesh does not say when later would be better, or where that
    is longer than the longest wait. For whole answers: what was streamed already cannot be taken back.
    """
    for _ in range(attempts - 1):
        try:
            return await attempt()
        except TokenwayError as error:
            wait_seconds = error.retry_after_seconds
            if wait_seconds is None or wait_seconds > longest_wait_seconds:
                raise
        await sleep(wait_seconds)
    return await attempt()
