"""What stands before the replicas of the cache: each connection goes to one that takes it, as a plain balancer does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def splice(listen: str, sockets: Sequence[str], *, lot: random.Random) -> AsyncIterator[None]:
    """Serves at the path `listen` while the block runs."""
    open_: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                there, away = await _connected(lot.sample(sockets, len(sockets)))
                await _both_ways((reader, away), (there, writer))
        finally:
            writer.close()
            open_.discard(task)

    async with await asyncio.start_unix_server(serve, listen):
        try:
            yield
        finally:
            for task in open_:
                task.cancel()


async def _connected(sockets: Sequence[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for path in sockets[:-1]:
        with suppress(OSError):
            return await asyncio.open_unix_connection(path)
    return await asyncio.open_unix_connection(sockets[-1])


async def _both_ways(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Until one side has had enough."""
    pumps = [asyncio.create_task(_pumped(*way)) for way in ways]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)
        for _, writer in ways:
            writer.close()


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
