"""The service as a process: how it begins, and every way in which it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from libs.errors import TokenwayError
from libs.rpc.process import MESH_TOKEN_VARIABLE
from libs.testing.llama import make_tiny_model
from libs.testing.runtime import MESH_TOKEN, recorded_runtime
from services.inference.config import DEFAULT_MODEL_VARIABLE
from tests.rpc.inference.served import SCRIPT, Served, generate, model

pytestmark = pytest.mark.processes

VLLM = {"kind": "vllm", "max_num_seqs": 2, "max_model_len": 512, "kv_cache_memory_bytes": 64 << 20}


def configured(folder: Path, engine: dict[str, object]) -> Path:
    described = model(folder / "inference.sock").model_dump(mode="json", exclude_none=True) | {"engine": engine}
    file = folder / "mesh.yaml"
    key = {"id": "ci", "sha256": "0" * 64}
    file.write_text(yaml.safe_dump({"models": [described], "organisations": [{"name": "acme", "keys": [key]}]}))
    return file


@asynccontextmanager
async def process(
    folder: Path, engine: dict[str, object], **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Its whole process group ends with the block."""
    command = ("-m", "services.inference", "--config", str(configured(folder, engine)), "--model", "small")
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *(*command, "--replica", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, MESH_TOKEN_VARIABLE: MESH_TOKEN, **environment},
        start_new_session=True,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            os.killpg(started.pid, signal.SIGKILL)
        await started.communicate()


@asynccontextmanager
async def ready(running: asyncio.subprocess.Process) -> AsyncIterator[Served]:
    assert running.stdout is not None
    line = (await running.stdout.readline()).decode()
    assert line.startswith("ready inference=unix:"), line
    recorded = recorded_runtime()
    client = recorded.runtime.client(line.split()[1].removeprefix("inference="), service="inference")
    try:
        yield Served(client, None, recorded)  # type: ignore[arg-type]  # the server is in the process
    finally:
        await client.close()


async def errors_of(running: asyncio.subprocess.Process) -> list[str]:
    """Lines of standard error, once it has ended."""
    _, errors = await running.communicate()
    return errors.decode().strip().splitlines()


async def test_it_says_ready_answers_and_ends_on_a_signal(folder: Path) -> None:
    async with process(folder, SCRIPT.model_dump()) as running, ready(running) as inference:
        assert len(await inference.generate(generate())) > 2
        running.terminate()
        assert await running.wait() == 0


async def test_it_lets_answers_end_before_it_does(folder: Path) -> None:
    async with process(folder, SCRIPT.model_dump()) as running, ready(running) as inference:
        asking = asyncio.create_task(inference.generate(generate("[[pace=50]] [[tokens=20]]")))
        await inference.busy()
        running.terminate()
        *_, finished = await asking
        assert finished.usage.output_tokens == 20
        assert await running.wait() == 0


async def test_it_ends_with_its_engine_and_says_so(folder: Path) -> None:
    async with process(folder, SCRIPT.model_dump()) as running, ready(running) as inference:
        with pytest.raises(TokenwayError, match="ENGINE_DEAD"):
            await inference.generate(generate("[[fault:die_after=3]]"))
        assert (await errors_of(running))[-1] == "inference: the engine of small died: ask another"
        assert running.returncode == 1


async def test_without_the_default_model_it_says_how_to_get_it(folder: Path) -> None:
    async with process(folder, VLLM, **{DEFAULT_MODEL_VARIABLE: ""}) as running:
        assert "run `make model`" in (await errors_of(running))[-1]
        assert running.returncode == 1


@pytest.mark.vllm
@pytest.mark.timeout(300)  # starts vLLM: 20 s, several times that on a busy machine
async def test_a_killed_engine_core_ends_the_service(folder: Path) -> None:
    path = {DEFAULT_MODEL_VARIABLE: str(make_tiny_model(folder / "model"))}
    async with process(folder, VLLM, **path) as running, ready(running) as inference:
        # Tokens that come while the reader is busy share a delta, so deltas are not counted.
        assert (await inference.generate(generate(max_tokens=3)))[-1].usage.output_tokens == 3
        os.kill(engine_core(running.pid), signal.SIGKILL)
        # Python's own line about a semaphore of the core's may come after ours.
        assert any(line.startswith("inference: the engine of small died") for line in await errors_of(running))
        assert running.returncode == 1


@pytest.mark.vllm
@pytest.mark.timeout(300)  # the same
async def test_a_killed_service_leaves_no_engine_core_behind(folder: Path) -> None:
    path = {DEFAULT_MODEL_VARIABLE: str(make_tiny_model(folder / "model"))}
    async with process(folder, VLLM, **path) as running, ready(running):
        core = os.pidfd_open(engine_core(running.pid))
        running.kill()
        await running.wait()
        await ended(core)


def engine_core(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (core,) = (child for child in children if "EngineCore" in Path(f"/proc/{child}/cmdline").read_text())
    return int(core)


async def ended(pidfd: int) -> None:
    """A process's descriptor becomes readable when the process ends."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pidfd, over.set)
    try:
        async with asyncio.timeout(60):
            await over.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
