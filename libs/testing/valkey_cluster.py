"""A real cluster of Valkeys of a test's own: three primaries, and a replica of one, which may be promoted."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from libs.testing.valkey import RedisServer, valkey_binary

_PRIMARIES = 3
_SLOTS = 16_384
_READY_SECONDS = 30.0


class ValkeyCluster:
    """Servers on free ports of loopback, ready when the block is entered; every write is flushed before its reply.

    `node_timeout_seconds`: how long a primary is silent until its replica takes its place. The default is so long that
    only a test which promotes it sees that happen.
    """

    def __init__(self, *, folder: Path, node_timeout_seconds: float = 60) -> None:
        ports = _free_ports(2 * (_PRIMARIES + 1))
        self._ports = list(zip(ports[::2], ports[1::2], strict=True))
        timeout_ms = str(int(node_timeout_seconds * 1000))
        self._servers = []
        for port, bus in self._ports:
            home = folder / str(port)
            home.mkdir()
            options = (
                *("--port", str(port), "--bind", "127.0.0.1", "--cluster-port", str(bus), "--cluster-enabled", "yes"),
                *("--cluster-node-timeout", timeout_ms, "--cluster-replica-validity-factor", "0"),
                *("--repl-diskless-sync-delay", "0"),
            )
            self._servers.append(RedisServer(binary=valkey_binary(), folder=home, options=options))
        # Both hold the last third of the slots, which has that of the organisation acme.
        *self.others, self.primary, self.replica = self._servers
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """As `libs.redis_client` takes it."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port, _ in self._ports)

    def __enter__(self) -> ValkeyCluster:
        with ExitStack() as stack:
            for server in self._servers:
                stack.enter_context(server)
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def flush(self) -> None:
        """Forgets every key."""
        for server in self._servers:
            if server is not self.replica:
                server.flush()

    def promote(self) -> None:
        """Lets the replica take its primary's place in good order: nothing is lost, and the two change parts."""
        with self.replica.client() as replica:
            replica.cluster("FAILOVER")
        self.primary, self.replica = self.replica, self.primary
        self.wait_for_replica()

    def wait_for_replica(self) -> None:
        """Until the replica has all that its primary has."""
        with self.primary.client() as primary, self.replica.client() as replica:
            _until(lambda: _follows(primary.info("replication"), replica.info("replication")))

    def wait_for_promotion(self) -> None:
        """Until the replica has taken the place of a primary that was killed."""
        with self.replica.client() as replica:
            _until(lambda: replica.info("replication")["role"] == "master" and _serves(replica))
        self.primary, self.replica = self.replica, self.primary

    def _join(self) -> None:
        with ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for server in self._servers]
            share = _SLOTS // _PRIMARIES + 1
            for number, client in enumerate(clients):
                client.cluster("SET-CONFIG-EPOCH", number + 1)
                if number < _PRIMARIES:
                    client.cluster("ADDSLOTSRANGE", number * share, min((number + 1) * share, _SLOTS) - 1)
            for port, bus in self._ports[1:]:
                clients[0].cluster("MEET", "127.0.0.1", port, bus)
            _until(lambda: all(_knows(client) == len(clients) for client in clients))
            clients[-1].cluster("REPLICATE", clients[_PRIMARIES - 1].cluster("MYID"))
            _until(lambda: all(_serves(client) and _replicas(client) for client in clients))
        self.wait_for_replica()


def _knows(client: Any) -> int:
    return int(client.cluster("INFO")["cluster_known_nodes"])


def _serves(client: Any) -> bool:
    return str(client.cluster("INFO")["cluster_state"]) == "ok"


def _replicas(client: Any) -> int:
    """Of which it knows: one that its primary does not know of is not let in its place."""
    return sum("slave" in each["flags"] for each in client.cluster("NODES").values())


def _follows(primary: Mapping[str, Any], replica: Mapping[str, Any]) -> bool:
    parts = primary["role"], replica["role"], replica.get("master_link_status")
    return parts == ("master", "slave", "up") and primary["master_repl_offset"] == replica["master_repl_offset"]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the cluster was not ready within {_READY_SECONDS:g} s")
        time.sleep(0.02)
