"""Those who follow an answer get it as it comes, however its own caller reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from libs.errors import Reason, TokenwayError
from services.router.domain.ahead import Ahead
from services.router.domain.answer import CacheVerdict, Event, Started

BROKEN = TokenwayError(Reason.STREAM_BROKEN, "broken")


def started(number: int) -> Started:
    return Started(str(number), "model", "why", CacheVerdict.MISS)


class Making:
    """An answer of three events, which waits before each but the first; `made` says how many have come."""

    def __init__(self, *, error: TokenwayError | None = None) -> None:
        self.made, self.go, self.closed = 0, asyncio.Semaphore(0), False
        self._error = error

    async def events(self) -> AsyncGenerator[Event]:
        try:
            for self.made in (1, 2, 3):
                yield started(self.made)
                await self.go.acquire()
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_nobody_follows_is_made_as_fast_as_it_is_read() -> None:
    making = Making()
    async with Ahead(making.events(), followed=asyncio.Event()) as ahead:
        assert await anext(ahead) == started(1)
        for _ in range(3):
            making.go.release()
        await settled()
        assert making.made == 1
        assert [each async for each in ahead] == [started(2), started(3)]


@pytest.mark.parametrize("waiting", [False, True])
async def test_what_is_followed_is_made_to_its_end_also_where_its_caller_does_not_read(waiting: bool) -> None:
    """Also where the caller has been waiting for more when the first follower comes."""
    making, followed = Making(), asyncio.Event()
    async with Ahead(making.events(), followed=followed) as ahead:
        assert await anext(ahead) == started(1)
        second = asyncio.create_task(anext(ahead)) if waiting else None
        await settled()
        followed.set()
        for _ in range(3):
            making.go.release()
        await settled()
        assert (making.made, making.closed) == (3, True)
        rest = ([await second] if second else []) + [each async for each in ahead]
        assert rest == [started(2), started(3)]


async def test_an_error_comes_after_all_that_came_before_it() -> None:
    making, followed = Making(error=BROKEN), asyncio.Event()
    followed.set()
    async with Ahead(making.events(), followed=followed) as ahead:
        for _ in range(3):
            making.go.release()
        await settled()
        assert [await anext(ahead) for _ in range(3)] == [started(1), started(2), started(3)]
        with pytest.raises(TokenwayError, match="broken"):
            await anext(ahead)


@pytest.mark.parametrize("is_followed", [False, True])
async def test_whoever_leaves_leaves_nothing_behind(is_followed: bool) -> None:
    making, followed = Making(), asyncio.Event()
    if is_followed:
        followed.set()
    async with Ahead(making.events(), followed=followed) as ahead:
        await anext(ahead)
        await settled()
    assert making.closed
    assert not [each for each in asyncio.all_tasks() if each.get_name() == "ahead"]


async def test_a_caller_that_is_cancelled_twice_leaves_nothing_open() -> None:
    """By its deadline, and by the server whose call it was. What stays open is ended when it is collected, anywhere."""
    making = Making()

    async def read() -> None:
        async with Ahead(making.events(), followed=asyncio.Event()) as ahead:
            await anext(ahead)
            await asyncio.Event().wait()

    reading = asyncio.create_task(read())
    await settled()
    for _ in range(2):
        reading.cancel()
        await asyncio.sleep(0)
    assert making.closed
    await asyncio.wait({reading})
