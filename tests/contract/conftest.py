"""One engine of each kind a session: vLLM's takes 20 seconds to make, and belongs to the loop that made it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.inference.adapters.scripted_engine import ScriptedEngine
from services.inference.adapters.vllm_engine import VllmEngine
from services.inference.domain.ports import Engine
from tests.contract.engines import scripted_engine, vllm_engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scripted() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine() as engine:
        yield engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VllmEngine]:
    async with vllm_engine(tmp_path_factory.mktemp("model")) as engine:
        yield engine


# The first test waits for vLLM's engine: several times its 20 s on a busy machine.
_VLLM = pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.timeout(300)])


@pytest.fixture(scope="session", params=["scripted", _VLLM])
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.getfixturevalue(request.param)
    return chosen
