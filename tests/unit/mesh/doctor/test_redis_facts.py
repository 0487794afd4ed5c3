"""What a Redis says of itself, and what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.redis_facts import RedisFacts
from tests.unit.mesh.doctor.found import about, verdicts

WELL = RedisFacts(
    info={"redis_version": "7.0.15", "role": "master", "aof_enabled": 1, "used_memory": 1 << 20, "maxmemory": 0},
    flush="always",
    round_trip_seconds=0.0002,
    ahead_seconds=0.001,
)


def said(**info: Any) -> list[Finding]:
    return list(replace(WELL, info={**WELL.info, **info}).findings())


def test_one_that_is_as_it_should_be() -> None:
    assert set(verdicts(WELL.findings()).values()) == {Verdict.OK}


@pytest.mark.parametrize(
    ("info", "subject", "verdict"),
    [
        ({"redis_version": "6.2.14"}, "version", Verdict.WRONG),
        ({"redis_version": "10.0"}, "version", Verdict.OK),
        ({"redis_version": ""}, "version", Verdict.WRONG),
        ({"role": "slave", "master_host": "a", "master_port": 6379}, "role", Verdict.WRONG),
        ({"cluster_enabled": 1}, "role", Verdict.WRONG),
        ({"aof_enabled": 0}, "durability", Verdict.WRONG),
        ({"aof_last_write_status": "err"}, "persistence", Verdict.WRONG),
        ({"rdb_last_bgsave_status": "err"}, "persistence", Verdict.WRONG),
        ({"maxmemory_policy": "allkeys-lru"}, "memory", Verdict.WARNING),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 1 << 30}, "memory", Verdict.WRONG),
        ({"maxmemory": 1 << 30, "used_memory": 1000 << 20}, "memory", Verdict.WARNING),
        ({"maxmemory": 1 << 30}, "memory", Verdict.OK),
    ],
)
def test_each_fact_is_judged(info: dict[str, Any], subject: str, verdict: Verdict) -> None:
    found = about(said(**info), subject)
    assert found.verdict is verdict
    assert bool(found.cure) is (verdict is not Verdict.OK)


def test_a_primary_of_a_cluster_should_have_a_replica() -> None:
    def role(replicas: int) -> dict[str, Verdict]:
        info = {**WELL.info, "cluster_enabled": 1, "connected_slaves": replicas}
        return verdicts(replace(WELL, info=info, node_of_cluster=True).findings())

    assert role(0)["role"] is Verdict.WARNING
    assert "role" not in role(1)


def test_valkey_says_its_own_version() -> None:
    found = said(server_name="valkey", valkey_version="9.1.2", redis_version="7.2.4")
    assert about(found, "version").says == "valkey 9.1.2"


@pytest.mark.parametrize(
    ("flush", "verdict"), [("always", Verdict.OK), ("everysec", Verdict.WARNING), (None, Verdict.SKIPPED)]
)
def test_what_a_lost_host_costs(flush: str | None, verdict: Verdict) -> None:
    assert about(replace(WELL, flush=flush).findings(), "durability").verdict is verdict


@pytest.mark.parametrize(
    ("ahead", "verdict"), [(-0.9, Verdict.OK), (1.5, Verdict.WARNING), (-1.5, Verdict.WARNING), (-60, Verdict.WRONG)]
)
def test_how_far_two_clocks_may_be_apart(ahead: float, verdict: Verdict) -> None:
    found = about(replace(WELL, ahead_seconds=ahead).findings(), "clock")
    assert found.verdict is verdict
    assert ("ahead of" in found.says) is (ahead > 0)


def test_a_far_redis_is_a_warning() -> None:
    found = about(replace(WELL, round_trip_seconds=0.02).findings(), "round trip")
    assert (found.verdict, found.says.partition(":")[0]) == (Verdict.WARNING, "20.0 ms")


def test_the_caches_own_may_forget() -> None:
    forgetful = {**WELL.info, "aof_enabled": 0, "used_memory": 1 << 30, "maxmemory": 1 << 30}
    forgetful["maxmemory_policy"] = "allkeys-lru"
    found = verdicts(replace(WELL, info=forgetful, holds_money=False).findings())
    assert set(found.values()) == {Verdict.OK}
    assert "durability" not in found
