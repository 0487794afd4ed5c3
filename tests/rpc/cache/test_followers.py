"""Followers of a long answer, over a real socket and a Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from libs.rpc.client import Client
from libs.telemetry import names
from tests.rpc.cache.served import FILL, LOOKUP, STOP, delta, header, question, serving
from tokenway.cache.v1 import cache_pb2 as pb

# 6.4 MB: gRPC takes in some 4 MB for a client that does not read.
PIECES = 100
PIECE = "x" * 64_000
SECONDS = 30.0


class Follower:
    """One that reads when it is told to."""

    def __init__(self, messages: AsyncIterator[pb.LookupResponse]) -> None:
        self.messages, self.length, self.ended = messages, 0, False

    async def read(self) -> None:
        """One more."""
        message = await anext(self.messages)
        self.length += sum(map(len, message.delta.text))
        self.ended = message.HasField("stored")

    async def read_until(self, length: int) -> None:
        while self.length < length:
            await self.read()


async def asking(client: Client, stack: AsyncExitStack) -> tuple[AsyncIterator[pb.LookupResponse], pb.Found]:
    """A look-up that stays open, and its verdict."""
    request = pb.LookupRequest(question=question(), single_flight=True)
    messages = aiter(await stack.enter_async_context(client.stream(LOOKUP, request)))
    return messages, (await anext(messages)).found


async def test_a_follower_that_does_not_read_holds_nobody_up_and_gets_all_in_the_end(
    folder: Path, redis_url: str
) -> None:
    async with (
        asyncio.timeout(SECONDS),
        serving(folder, redis_url=redis_url, max_answer_bytes=16 << 20) as cache,
        AsyncExitStack() as stack,
    ):
        leading, lead = await asking(cache.client, stack)
        slow, quick = [Follower((await asking(cache.client, stack))[0]) for _ in range(2)]
        assert (await anext(leading)).HasField("publish")
        to_come: asyncio.Queue[pb.FillRequest | None] = asyncio.Queue()

        async def sent() -> AsyncIterator[pb.FillRequest]:
            while (each := await to_come.get()) is not None:
                yield each

        filling = asyncio.create_task(cache.client.unary(FILL, sent()))
        given = header(as_of=lead.as_of)
        given.header.lead_token = lead.lead_token
        to_come.put_nowait(given)
        for number in range(PIECES):
            to_come.put_nowait(delta(PIECE))
            await quick.read_until((number + 1) * len(PIECE))
        for each in (STOP, None):
            to_come.put_nowait(each)
        await quick.read()
        assert quick.ended
        assert [each async for each in quick.messages] == []
        assert (await filling).stored

        assert cache.recorded.sample(names.METRIC_CACHE_FOLLOWERS) == 1, "the cache waits for the other"
        while not slow.ended:
            await slow.read()
        assert slow.length == quick.length
