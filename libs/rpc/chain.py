"""The chain of middleware, in its one order, composed once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from libs.rpc.call import Call, Middleware


def compose(middleware: Sequence[Middleware]) -> Middleware:
    """One piece of all, the first outermost."""

    @asynccontextmanager
    async def surround(call: Call) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for each in middleware:
                await stack.enter_async_context(each(call))
            yield

    return surround
