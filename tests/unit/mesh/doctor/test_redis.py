"""Real servers: well, forgetful, locked, read-only, full, frozen, and none."""

from __future__ import annotations

import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from libs.testing.valkey import RedisServer, valkey_binary
from libs.testing.valkey_cluster import ValkeyCluster
from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.patient import Patient
from services.mesh.doctor.redis import RedisServers, Store, check
from services.mesh.state_directory import StateDirectory
from tests.unit.mesh.doctor.found import about, all_of, verdicts
from tests.unit.settings.documents import written


@contextmanager
def valkey(*options: str) -> Iterator[RedisServer]:
    with (
        tempfile.TemporaryDirectory(prefix="tokenway-") as folder,
        RedisServer(binary=valkey_binary(), folder=Path(folder), options=options) as server,
    ):
        yield server


async def examined(url: str, *, holds_money: bool = True) -> list[Finding]:
    return await all_of(RedisServers(stores=(Store("server", url, holds_money),)))


async def test_ours_is_as_it_should_be(redis_servers: RedisServer) -> None:
    found = verdicts(await examined(redis_servers.url))
    # On a busy machine any server is slow.
    assert {each for subject, each in found.items() if subject != "round trip"} == {Verdict.OK}
    assert set(found) >= {"server", "scripts", "version", "durability", "persistence", "memory", "clock"}


@pytest.mark.cluster
async def test_each_primary_of_a_cluster_is_examined(valkey_cluster: ValkeyCluster) -> None:
    found = await examined(valkey_cluster.url)

    servers = [each for each in found if each.subject.startswith("server")]
    assert [each.says.partition(" answers: ")[2] for each in servers] == ["a cluster of 3 primaries"]
    judged = Counter(each.verdict for each in found if each.subject.endswith(" scripts"))
    assert judged == {Verdict.OK: 3}
    # The one that has a replica is as it should be.
    assert Counter(each.verdict for each in found if each.subject.endswith(" role")) == {Verdict.WARNING: 2}
    assert {each.verdict for each in found if each.subject.endswith((" durability", " memory"))} == {Verdict.OK}


@pytest.mark.cluster
async def test_a_node_that_is_named_alone_is_told_from_its_cluster(valkey_cluster: ValkeyCluster) -> None:
    assert (
        about(await examined(valkey_cluster.primary.url), "role").cure
        == "REDIS_URL=redis+cluster://HOST:PORT,HOST:PORT"
    )


async def test_a_cluster_that_is_not_there_is_said_without_its_password() -> None:
    (found,) = await examined("redis+cluster://me:hunter2@127.0.0.1:1")
    assert found.verdict is Verdict.WRONG
    assert "hunter2" not in str(found)


async def test_an_examination_leaves_nothing_behind(redis_url: str) -> None:
    await examined(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


async def test_one_that_forgets_is_seen() -> None:
    with valkey("--appendonly", "no") as server:
        assert about(await examined(server.url), "durability").cure == (
            "redis-cli CONFIG SET appendonly yes && redis-cli CONFIG REWRITE"
        )
    with valkey("--appendfsync", "everysec", "--maxmemory-policy", "allkeys-lru") as server:
        found = await examined(server.url)
        assert about(found, "durability").verdict is Verdict.WARNING
        assert about(found, "memory").verdict is Verdict.WARNING


async def test_a_password_that_is_missing_or_wrong_is_said_and_never_repeated(own_valkey: RedisServer) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        client.config_set("requirepass", "hunter2")
    path = own_valkey.url.removeprefix("unix://")
    for url in (own_valkey.url, f"unix://me:letmein@{path}", f"unix://:letmein@{path}"):
        (found,) = await examined(url)
        assert (found.verdict, found.subject) == (Verdict.WRONG, "server")
        assert "refuses us" in found.says
        assert "letmein" not in str(found)
    assert about(await examined(f"unix://:hunter2@{path}"), "server").verdict is Verdict.OK
    assert "hunter2" not in str(await examined(f"unix://:hunter2@{path}"))


async def test_a_user_that_may_not_run_scripts_is_seen(own_valkey: RedisServer) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~tw:*", "+@all", "-@scripting", "-config")
    found = await examined(f"unix://app:secret@{own_valkey.url.removeprefix('unix://')}")
    assert about(found, "scripts").cure.startswith("redis-cli ACL SETUSER NAME '~tw:*'")
    assert about(found, "durability").verdict is Verdict.SKIPPED, "it may not read the configuration"


async def test_a_user_that_the_cure_makes_is_enough(own_valkey: RedisServer) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~tw:*", "+@all", "-@dangerous", "+info")
    found = await examined(f"unix://app:secret@{own_valkey.url.removeprefix('unix://')}")
    assert about(found, "scripts").verdict is Verdict.OK
    assert about(found, "version").verdict is Verdict.OK


async def test_a_replica_is_read_only(own_valkey: RedisServer) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        client.replicaof("127.0.0.1", 1)
    found = await examined(own_valkey.url)
    assert about(found, "role").cure == "let REDIS_URL name 127.0.0.1:1"
    assert about(found, "scripts").verdict is Verdict.WRONG


async def test_a_full_one_takes_no_script() -> None:
    with valkey("--maxmemory", "1mb") as server:
        assert "refused: " in about(await examined(server.url), "scripts").says


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.mesh.doctor.redis._ANSWER_SECONDS", 0.3)


async def test_a_frozen_one_is_given_up(own_valkey: RedisServer, impatient: None) -> None:
    own_valkey.freeze()
    (found,) = await examined(own_valkey.url)
    assert found.verdict is Verdict.WRONG
    assert "no answer within 0.3 s" in found.says


async def test_one_that_answers_no_connection_is_given_up(impatient: None) -> None:
    # A full backlog drops what comes, as a firewall does.
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        (found,) = await examined(f"redis://me:hunter2@127.0.0.1:{deaf.getsockname()[1]}/0")
    assert "no answer within 0.3 s" in found.says
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("url", ["redis://:hunter2@127.0.0.1:1", "rediss://:hunter2@127.0.0.1:1", "redis://a:b@h:port"])
async def test_one_that_is_not_there_is_said_without_its_password(url: str) -> None:
    (found,) = await examined(url)
    assert found.verdict is Verdict.WRONG
    assert "hunter2" not in str(found)


async def test_a_clock_that_is_apart_is_seen(redis_url: str) -> None:
    ahead = RedisServers(stores=(Store("server", redis_url),), date=lambda: time.time() - 120)
    assert "120.0" in about(await all_of(ahead), "clock").says


async def test_the_embedded_one_is_not_missed_while_no_mesh_runs(tmp_path: Path) -> None:
    patient = Patient(
        file=tmp_path, state=StateDirectory(tmp_path), environment={}, default_model=tmp_path, settings=written()
    )
    (found,) = await all_of(check(patient))
    assert (found.verdict, found.subject) == (Verdict.SKIPPED, "server")
