"""The compose file: one public port, no secret that works by itself, and a mesh that our own loader takes."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from libs.keys import sha256_of
from libs.settings.document import load
from libs.testing.valkey import valkey_binary
from tests.deploy.shipped import DEPLOY, PROMETHEUS, jobs, read

COMPOSE: dict[str, Any] = read(DEPLOY / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MESH = ("router", "cache", "budget", "inference")
TEMPLATE = DEPLOY / "tokenway.compose.yaml"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets") / "made"
    make_secrets(folder)
    return folder


def make_secrets(folder: Path) -> None:
    subprocess.run([DEPLOY / "secrets.sh", folder], check=True, capture_output=True)


def test_only_the_router_is_reached_from_other_machines() -> None:
    ports = {name: port for name, service in SERVICES.items() for port in service.get("ports", ())}
    assert {name for name, port in ports.items() if not port.startswith("127.0.0.1:")} == {"router"}
    assert {name for name in SERVICES if "public" in SERVICES[name].get("networks", ())} == {"router", "cli"}
    assert COMPOSE["networks"]["telemetry"]["internal"] is True
    assert SERVICES["redis"]["network_mode"] == "none"


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert name in ("cli", "redis-data") or service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}


def test_images_of_others_are_of_a_version() -> None:
    foreign = {service["image"] for service in SERVICES.values() if "build" not in service}
    assert {each for each in foreign if not re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", each)} == set()


def test_targets_are_those_of_the_dockerfile() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE))
    assert {service["build"]["target"] for service in SERVICES.values() if "build" in service} <= stages


def test_files_that_are_mounted_are_in_the_repository_or_are_made() -> None:
    sources = [each["file"] for part in ("configs", "secrets") for each in COMPOSE[part].values()]
    sources += [each["env_file"] for each in SERVICES.values() if "env_file" in each]
    sources += [each.split(":")[0] for one in SERVICES.values() for each in one.get("volumes", ()) if each[0] == "."]
    made = {"secrets/" + each for each in made_by_script()}
    assert {each for each in sources if each not in made and not (DEPLOY / each).exists()} == set()


def made_by_script() -> set[str]:
    text = (DEPLOY / "secrets.sh").read_text()
    certificates = re.findall(r"^certificate (\S+)", text, re.MULTILINE)
    return {*re.findall(r"^make_once (\S+)", text, re.MULTILINE)} | {
        f"{each}.{end}" for each in certificates for end in ("crt", "key")
    }


def test_no_key_opens_the_mesh_before_secrets_are_made() -> None:
    (organisation,) = load(TEMPLATE, environment={}).organisations
    assert [each.sha256 for each in organisation.keys] == ["0" * 64]
    tracked = subprocess.run(
        ["git", "ls-files", "deploy"], cwd=DEPLOY.parent, check=True, capture_output=True, text=True
    )
    assert [each for each in tracked.stdout.split() if re.search(r"secrets/|\.(key|crt|env)$", each)] == []


def test_secrets_are_each_of_its_own_and_the_folder_is_its_owners_alone(secrets: Path) -> None:
    make_secrets(other := secrets.parent / "other")
    assert {each.name for each in secrets.iterdir()} == made_by_script()
    assert [each.name for each in secrets.iterdir() if each.read_bytes() == (other / each.name).read_bytes()] == []
    assert secrets.stat().st_mode & 0o777 == 0o700


def test_a_certificate_that_was_deleted_is_replaced_with_its_key_in_a_folder_that_is_closed(secrets: Path) -> None:
    before = {each: each.read_bytes() for each in secrets.iterdir()}
    (secrets / "otel.crt").unlink()
    secrets.chmod(0o755)
    make_secrets(secrets)
    changed = {each.name for each, text in before.items() if each.read_bytes() != text}
    assert changed == {"otel.crt", "otel.key"}
    assert secrets.stat().st_mode & 0o777 == 0o700


def test_secrets_are_not_made_anew(secrets: Path) -> None:
    before = {each: each.read_bytes() for each in secrets.iterdir()}
    make_secrets(secrets)
    assert {each: each.read_bytes() for each in secrets.iterdir()} == before


def test_the_configuration_that_is_made_admits_the_key_that_is_made(secrets: Path) -> None:
    (organisation,) = load(secrets / "tokenway.yaml", environment={}).organisations
    name, _, key = (secrets / "admin.env").read_text().strip().partition("=")
    assert (name, sha256_of(key)) == ("TOKENWAY_API_KEY", organisation.keys[0].sha256)


def test_services_meet_where_compose_and_health_checks_look_for_them() -> None:
    settings = load(TEMPLATE, environment={})
    (model,) = settings.models
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    inside = (settings.services.cache.listen, settings.services.budget.listen, *model.endpoints)
    for address in inside:
        assert address.startswith("unix:/run/tokenway/")
        assert f'"libs.rpc.probe", "{address}"' in dockerfile
    assert COMPOSE["x-service"]["volumes"] == ["sockets:/run/tokenway"]
    assert SERVICES["inference"]["command"][2:] == ["--model", model.name, "--replica", "0"]
    assert settings.services.router.listen == "0.0.0.0:50051"
    assert settings.telemetry.otlp_endpoint == "otel-collector:4317"


def test_prometheus_asks_where_the_services_answer() -> None:
    settings = load(TEMPLATE, environment={})
    metrics = {name: getattr(settings.services, name).metrics for name in MESH[:3]} | {
        "inference": settings.models[0].metrics
    }
    assert set(metrics.values()) == {"0.0.0.0:9464"}
    scraped = {
        each["job_name"]: each["static_configs"][0]["targets"]
        for each in read(PROMETHEUS / "prometheus.yml")["scrape_configs"]
    }
    assert scraped == {name: [f"{name}:9464"] for name in MESH} | {"otel-collector": ["otel-collector:8888"]}
    assert jobs() <= SERVICES.keys()
    assert all("telemetry" in SERVICES[each]["networks"] for each in jobs())


def test_redis_flushes_every_write(tmp_path: Path) -> None:
    """The very options, in a real server."""
    words = shlex.split(SERVICES["redis"]["command"])
    assert words[0] == "valkey-server"
    here = {"/run/tokenway/redis.sock": "redis.sock", "/data": "."}
    server = subprocess.Popen([valkey_binary(), *(here.get(each, each) for each in words[1:])], cwd=tmp_path)
    try:
        patient = Retry(ConstantBackoff(0.05), retries=200, supported_errors=(redis.ConnectionError,))
        with redis.Redis(unix_socket_path=str(tmp_path / "redis.sock"), decode_responses=True, retry=patient) as client:
            given = client.config_get("appendfsync", "appendonly", "save", "port", "maxmemory-policy")
    finally:
        server.terminate()
        server.wait(timeout=10)
    assert given == {
        "appendfsync": "always",
        "appendonly": "yes",
        "save": "",
        "port": "0",
        "maxmemory-policy": "noeviction",
    }
