"""What is started on one machine, from a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from libs.settings.document import load, read
from libs.settings.schema import Settings
from services.mesh.errors import MeshError
from services.mesh.supervisor.plan import Plan, Sockets, as_yaml, plan
from tests.unit.settings.documents import VALID, written

HASH = "ab" * 32
FILE = Path("/state/effective.yaml")


def planned(settings: Settings) -> Plan:
    return plan(settings, sockets=Sockets(Path("/run/tw")), configuration_file=FILE, owner_sha256=HASH)


def with_model(**changes: object) -> Settings:
    tree = yaml.safe_load(VALID)
    tree["models"][0].update(changes)
    return read(yaml.safe_dump(tree), name="mesh.yaml", environment={})


def test_every_service_and_every_replica_is_a_process() -> None:
    made = planned(with_model(endpoints=["127.0.0.1:0", "127.0.0.1:50062"]))
    assert [each.name for each in made.backing] == ["budget", "cache", "inference-small-0", "inference-small-1"]
    assert made.backing[3].command[1:] == (
        *("-P", "-m", "services.inference", "--config", str(FILE)),
        *("--model", "small", "--replica", "1"),
    )
    assert made.router.rpc_service == "tokenway.router.v1.RouterService"


def test_what_the_file_leaves_open_gets_a_socket() -> None:
    made = planned(with_model(endpoints=["127.0.0.1:0", "127.0.0.1:50062"])).settings
    assert made.services.cache.listen == "unix:/run/tw/cache.sock"
    assert made.services.budget.listen == "unix:/run/tw/budget.sock"
    assert made.models[0].endpoints == ("unix:/run/tw/model-0-0.sock", "127.0.0.1:50062")


def test_what_the_file_says_stays() -> None:
    made = planned(written("services: {router: {listen: '127.0.0.1:0'}, cache: {listen: '127.0.0.1:7'}}")).settings
    assert (made.services.router.listen, made.services.cache.listen) == ("127.0.0.1:0", "127.0.0.1:7")


def test_behind_certificates_nothing_is_moved() -> None:
    tls = "mesh_tls: {certificate_file: c, key_file: k, ca_file: a}"
    assert planned(written(tls)).settings.services.cache.listen == "127.0.0.1:50052"


def test_a_model_without_an_engine_is_somebody_elses() -> None:
    assert [each.name for each in planned(with_model(engine=None)).backing] == ["budget", "cache"]


def test_a_replica_on_another_machine_cannot_be_started_here() -> None:
    tree = yaml.safe_load(VALID)
    tree["models"][0]["endpoints"] = ["gpu-1:50061"]
    tree["mesh_tls"] = {"certificate_file": "c", "key_file": "k", "ca_file": "a"}
    with pytest.raises(MeshError, match=r"^models\.small: the replica at gpu-1:50061 is not on this machine"):
        planned(read(yaml.safe_dump(tree), name="mesh.yaml", environment={}))


def test_the_owner_gets_a_key_in_the_first_organisation() -> None:
    (key,) = planned(written("  - name: other")).settings.organisations[0].keys
    assert (key.id, key.sha256, key.role) == ("local", HASH, "admin")


def test_the_owners_key_takes_no_id_that_is_taken() -> None:
    made = planned(written(f"    keys: [{{id: local, sha256: {'cd' * 32}}}, {{id: local-2, sha256: {'ef' * 32}}}]"))
    assert [key.id for key in made.settings.organisations[0].keys] == ["local", "local-2", "local-3"]


def test_an_owners_key_that_the_file_has_is_not_added() -> None:
    made = planned(written(f"  - name: other\n    keys: [{{id: me, sha256: {HASH}}}]")).settings
    assert made.organisations[0].keys == ()


def test_the_password_of_redis_is_in_no_file() -> None:
    made = planned(written(environment={"REDIS_URL": "redis://me:hunter2@db"}))
    assert "hunter2" not in as_yaml(made.settings)


@pytest.mark.parametrize("path", ["deploy/tokenway.example.yaml", "services/mesh/default.yaml"])
def test_written_settings_read_back_as_the_same(path: str) -> None:
    settings = load(path, environment={})
    again = read(as_yaml(settings), name="effective.yaml", environment={})
    assert again == settings
