"""WatchLoad, through a real server."""

from __future__ import annotations

import asyncio

from tests.rpc.inference.served import WATCH_LOAD, Served, generate
from tokenway.inference.v1 import inference_pb2 as pb


async def test_the_load_comes_at_once_and_with_every_change(inference: Served) -> None:
    async with inference.client.stream(WATCH_LOAD, pb.WatchLoadRequest()) as stream:
        reports = aiter(stream)
        first = await anext(reports)
        assert (first.running, first.waiting, first.kv_cache_usage, first.draining) == (0, 0, 0, False)
        asking = [asyncio.create_task(inference.generate(generate("[[fault:stall_after=2]]"))) for _ in range(2)]
        while (report := await anext(reports)).waiting == 0:
            pass
        assert (report.running, report.waiting) == (1, 1)
        for task in asking:
            task.cancel()
        while (report := await anext(reports)).running:
            pass
        assert report.waiting == 0


async def test_watching_does_not_hold_up_a_server_that_drains(inference: Served) -> None:
    async def watch() -> None:
        async with inference.client.stream(WATCH_LOAD, pb.WatchLoadRequest()) as stream:
            async for _ in stream:
                watching.set()

    watching = asyncio.Event()
    task = asyncio.create_task(watch())
    await watching.wait()
    async with asyncio.timeout(4.5):  # of the 5 s that draining may take
        await inference.server.__aexit__(None, None, None)
    task.cancel()
    await asyncio.wait([task])
