"""Every ledger; and one engine of each kind a session: vLLM's takes 20 seconds to make, and belongs to its loop."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.testing.valkey import RedisServer
from libs.testing.valkey_cluster import ValkeyCluster
from services.inference.adapters.openai_engine import OpenAiEngine
from services.inference.adapters.scripted_engine import ScriptedEngine
from services.inference.adapters.vllm_engine import VllmEngine
from services.inference.domain.ports import Engine
from tests.contract.engines import openai_engine, scripted_engine, vllm_engine
from tests.contract.ledgers import POLICY, Tried, in_memory, in_redis, open_when_away
from tests.contract.openai_upstream import Upstream, upstream


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scripted() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine() as engine:
        yield engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VllmEngine]:
    async with vllm_engine(tmp_path_factory.mktemp("model")) as engine:
        yield engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def openai() -> AsyncIterator[OpenAiEngine]:
    async with upstream() as provider, openai_engine(provider.url) as engine:
        yield engine


# Where `make test-provider` has started a real server of OpenAI's API, for the model `tiny` and the key `secret`.
_SERVER = os.environ.get("TOKENWAY_TEST_PROVIDER_URL", "")
collect_ignore = [] if _SERVER else ["test_served_openai.py"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served() -> AsyncIterator[OpenAiEngine]:
    async with openai_engine(_SERVER, environment={"KEY": "secret"}, model="tiny", api_key_env="KEY") as engine:
        yield engine


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Upstream]:
    """One of a test's own, which may break it."""
    async with upstream() as running:
        yield running


# The first test waits for vLLM's engine: several times its 20 s on a busy machine.
_VLLM = pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.timeout(300)])


@pytest.fixture(scope="session", params=["scripted", "openai", _VLLM, *(["served"] if _SERVER else [])])
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture(autouse=True)
def _only_engines_that_can(request: pytest.FixtureRequest) -> None:
    """`counts_tokens(reason)` marks what takes the model's own tokenizer, which a remote provider keeps to itself."""
    mark = request.node.get_closest_marker("counts_tokens")
    if mark is not None and request.node.callspec.params["engine"] in {"openai", "served"}:
        pytest.skip(*mark.args)


_WITHOUT_A_SERVER = {"memory": in_memory, "open_when_away": open_when_away}


# The scripts are the same there; what a cluster adds has tests of its own in test_redis_cluster.
_CLUSTER = pytest.param("shared_cluster", marks=pytest.mark.cluster)


@pytest.fixture(params=["memory", "open_when_away", "valkey_server", "redis_server", _CLUSTER])
async def tried(request: pytest.FixtureRequest) -> AsyncIterator[Tried]:
    """Each ledger in turn, empty."""
    if request.param in _WITHOUT_A_SERVER:
        yield _WITHOUT_A_SERVER[request.param](POLICY)
        return
    server: RedisServer | ValkeyCluster = request.getfixturevalue(request.param)
    server.flush()
    async with in_redis(server.url, POLICY) as found:
        yield found
