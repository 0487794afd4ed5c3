"""Real Redis servers for any test. Each runs once a session, and is empty when a test begins."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from libs.testing.valkey import RedisServer, redis_binary, valkey_binary
from libs.testing.valkey_cluster import ValkeyCluster

# A shell starts its background jobs with SIGINT ignored, and so would be what a test starts there and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No verdict hangs on seconds: the machines that run this are busy.
settings.register_profile("tokenway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tokenway")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    """The Valkey that comes with the mesh. Shared: a test that kills or freezes one takes `own_valkey`."""
    with _running(valkey_binary()) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Debian's Redis 7.0, the oldest that we support; skips where it is not installed."""
    binary = redis_binary()
    if binary is None:
        pytest.skip("no redis-server on the PATH; `apt-get install redis-server` brings it")
    with _running(binary) as server:
        yield server


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ValkeyCluster]:
    """Three primaries and a replica, which a test may promote; a test that kills or freezes one takes `own_cluster`."""
    with tempfile.TemporaryDirectory(prefix="tokenway-") as folder, ValkeyCluster(folder=Path(folder)) as cluster:
        yield cluster


@pytest.fixture
def valkey_cluster(shared_cluster: ValkeyCluster) -> ValkeyCluster:
    """The same, empty."""
    shared_cluster.flush()
    return shared_cluster


@pytest.fixture
def own_cluster() -> Iterator[ValkeyCluster]:
    """A cluster for this test alone. A primary that is silent for a second has lost its place."""
    with (
        tempfile.TemporaryDirectory(prefix="tokenway-") as folder,
        ValkeyCluster(folder=Path(folder), node_timeout_seconds=1) as cluster,
    ):
        yield cluster


@pytest.fixture
def redis_url(valkey_server: RedisServer) -> str:
    """The address of an empty Valkey."""
    valkey_server.flush()
    return valkey_server.url


@pytest.fixture(params=["valkey_server", "redis_server"], ids=["valkey", "redis"])
def redis_servers(request: pytest.FixtureRequest) -> RedisServer:
    """An empty server: the test runs once on each kind."""
    server = request.getfixturevalue(request.param)
    assert isinstance(server, RedisServer)
    server.flush()
    return server


@pytest.fixture
def own_valkey() -> Iterator[RedisServer]:
    """A Valkey for this test alone, which may kill it."""
    with _running(valkey_binary()) as server:
        yield server


@contextmanager
def _running(binary: Path) -> Iterator[RedisServer]:
    # Not pytest's tmp_path: with a long user or test name a socket there passes the 107 bytes that its path may have.
    with (
        tempfile.TemporaryDirectory(prefix="tokenway-") as folder,
        RedisServer(binary=binary, folder=Path(folder)) as server,
    ):
        yield server
