"""Gauges of the engine and of the machine, read from the running service."""

from __future__ import annotations

import asyncio
from pathlib import Path

from libs.testing.gpus import FakeGpus
from services.inference.domain.ports import GpuReading
from tests.rpc.inference.served import GENERATE, generate, serving


async def test_the_gauges_show_the_engines_queue_and_the_gpus(tmp_path: Path) -> None:
    async with serving(tmp_path, gpus=FakeGpus((GpuReading("0", 60, 1 << 30),))) as served:
        sample = served.recorded.sample
        assert sample("llm_gpu_utilization", gpu_id="0") == 60
        assert sample("llm_gpu_memory_bytes", gpu_id="0") == 1 << 30
        assert sample("tokenway_engine_requests_running") == 0
        stall = generate("[[fault:stall_after=1]]")
        async with served.client.stream(GENERATE, stall) as one:
            await anext(aiter(one))  # it has the only turn
            two_more = served.client.stream(GENERATE, stall), served.client.stream(GENERATE, stall)
            async with asyncio.timeout(60), two_more[0], two_more[1]:
                while sample("tokenway_engine_requests_waiting") < 2:  # noqa: ASYNC110 # a scrape is all there is
                    await asyncio.sleep(0.01)
                assert sample("tokenway_engine_requests_running") == 1
                assert sample("tokenway_engine_kv_cache_usage_ratio") > 0
        await served.left_alone()
        assert sample("tokenway_engine_requests_waiting") == 0
