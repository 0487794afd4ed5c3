"""What a Redis says of itself, judged by what the mesh needs of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.mesh.doctor.finding import Finding, ok, skipped, warning, wrong

# Debian's, which the tests run against.
OLDEST = (7, 0)
_FULL = 0.9
_SLOW_SECONDS = 0.005
_SKEW_SECONDS, _MUCH_SKEW_SECONDS = 1.0, 5.0
_SAVED = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """`info` as redis-py reads INFO; `flush` is appendfsync, None where CONFIG is not allowed.

    `ahead_seconds`: by how much its clock is ahead of ours. `holds_money`: the ledger is there, not the cache alone.
    `node_of_cluster`: it is asked as one, by an address that names the cluster.
    """

    info: Mapping[str, Any]
    flush: str | None
    round_trip_seconds: float
    ahead_seconds: float
    holds_money: bool = True
    node_of_cluster: bool = False

    def findings(self) -> Iterator[Finding]:
        yield self._version()
        yield from self._role()
        if self.holds_money:
            yield self._durability()
        yield self._saving()
        yield from self._memory()
        yield self._round_trip()
        yield self._clock()

    def _version(self) -> Finding:
        name = str(self.info.get("server_name") or "redis")
        version = str(self.info.get(f"{name}_version") or self.info.get("redis_version", ""))
        # Valkey says in redis_version with which Redis it is compatible.
        compatible = tuple(int(each) for each in re.findall(r"\d+", str(self.info.get("redis_version", "")))[:2])
        if compatible < OLDEST:
            return wrong("version", f"{name} {version}; 7.0 is the oldest that works", cure="run Redis 7.0 or Valkey")
        return ok("version", f"{name} {version}")

    def _role(self) -> Iterator[Finding]:
        if self.info.get("role") == "slave":
            primary = f"{self.info.get('master_host')}:{self.info.get('master_port')}"
            yield wrong("role", f"it is a replica of {primary}: read-only", cure=f"let REDIS_URL name {primary}")
        if not self.info.get("cluster_enabled"):
            return
        if not self.node_of_cluster:
            says = "it is a node of a cluster: what lies on others is not found"
            yield wrong("role", says, cure="REDIS_URL=redis+cluster://HOST:PORT,HOST:PORT")
        elif not self.info.get("connected_slaves"):
            says = "it has no replica: while it is away, so are all whose keys it has"
            yield warning("role", says, cure="redis-cli --cluster add-node HOST:PORT ANY_NODE:PORT --cluster-slave")

    def _durability(self) -> Finding:
        if not self.info.get("aof_enabled"):
            says = "appendonly is off: what was spent since the last snapshot is forgotten when it restarts"
            return wrong("durability", says, cure=_set("appendonly", "yes"))
        if self.flush is None:
            return skipped("durability", "appendonly is on; appendfsync cannot be read: CONFIG is not allowed here")
        if self.flush != "always":
            says = f"appendfsync is {self.flush}: when its host is lost, so is what was spent in the last second"
            return warning("durability", says, cure=_set("appendfsync", "always"))
        return ok("durability", "every write is on disk before its reply (appendfsync always)")

    def _saving(self) -> Finding:
        failing = [name for name in _SAVED if self.info.get(name, "ok") != "ok"]
        if failing:
            says = f"it cannot write to its disk ({', '.join(failing)}): it refuses writes, or soon will"
            return wrong("persistence", says, cure="make room on its disk, and look at its log")
        return ok("persistence", "its last writes to disk succeeded")

    def _memory(self) -> Iterator[Finding]:
        most, used = int(self.info.get("maxmemory", 0)), int(self.info.get("used_memory", 0))
        policy = str(self.info.get("maxmemory_policy", "noeviction"))
        if self.holds_money and policy != "noeviction":
            says = f"maxmemory-policy is {policy}: when memory runs out it throws limits and receipts away"
            # Without a limit it never evicts, until somebody sets one.
            judge = wrong if most else warning
            yield judge("memory", says, cure=_set("maxmemory-policy", "noeviction"))
        elif most and used > _FULL * most and policy == "noeviction":
            says = f"{used / most:.0%} of maxmemory are in use; when it is full, every request is refused"
            yield warning("memory", says, cure=_set("maxmemory", f"{2 * most}"))
        else:
            yield ok("memory", f"{used / 2**20:.0f} MiB in use, maxmemory-policy {policy}")

    def _round_trip(self) -> Finding:
        says = f"{self.round_trip_seconds * 1_000:.1f} ms"
        if self.round_trip_seconds > _SLOW_SECONDS:
            says += ": a request makes several, one after the other"
            return warning("round trip", says, cure="put Redis nearer: the same zone, the same network")
        return ok("round trip", says)

    def _clock(self) -> Finding:
        says = f"its clock is {abs(self.ahead_seconds):.3f} s {'ahead of' if self.ahead_seconds > 0 else 'behind'} ours"
        if abs(self.ahead_seconds) < _SKEW_SECONDS:
            return ok("clock", says)
        # A lease is kept for a margin of 5 s; budgets turn over by Redis's clock.
        judge = wrong if abs(self.ahead_seconds) >= _MUCH_SKEW_SECONDS else warning
        return judge("clock", says, cure="sudo timedatectl set-ntp true, on both machines")


def _set(name: str, value: str) -> str:
    return f"redis-cli CONFIG SET {name} {value} && redis-cli CONFIG REWRITE"
