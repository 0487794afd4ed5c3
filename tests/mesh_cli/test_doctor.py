"""`tokenway doctor` as a process: what it says, how it ends, and that nothing holds it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from libs.testing.certificates import authority
from libs.testing.valkey import RedisServer
from services.mesh.doctor.examination import NAMES
from tests.mesh_cli.command import SCRIPTED, Tokenway, scripted
from tests.openssl import needs_openssl

pytestmark = pytest.mark.processes

# What services/mesh/README.md promises to programs.
VERDICT = {"enum": ["ok", "warning", "wrong", "skipped"]}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["verdict", "findings"],
    "properties": {
        "verdict": {"enum": ["ok", "warning", "wrong"]},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["check", "subject", "verdict", "says", "cure"],
                "properties": {
                    "check": {"enum": list(NAMES)},
                    "subject": {"type": "string", "minLength": 1},
                    "verdict": VERDICT,
                    "says": {"type": "string", "minLength": 1, "pattern": "^[^\n]*$"},
                    "cure": {"type": ["string", "null"]},
                },
                "if": {"properties": {"verdict": {"enum": ["warning", "wrong"]}}},
                "then": {"properties": {"cure": {"type": "string", "minLength": 1}}},
                "else": {"properties": {"cure": {"type": "null"}}},
            },
        },
    },
}
WITHOUT = "import sys; sys.modules[{name!r}] = None; from services.mesh.cli import main; main()"


def examined(user: Tokenway, *arguments: str) -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
    """The exit code, and the findings by check and subject."""
    done = user.run("doctor", "--json", *arguments)
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    jsonschema.validate(report, SCHEMA)
    assert done.returncode == (1 if report["verdict"] == "wrong" else 0)
    return done.returncode, {(each["check"], each["subject"]): each for each in report["findings"]}


def wrong(findings: dict[tuple[str, str], dict[str, Any]]) -> set[tuple[str, str]]:
    return {of for of, each in findings.items() if each["verdict"] == "wrong"}


def test_a_mesh_that_runs_is_well(mesh: Tokenway) -> None:
    code, findings = examined(mesh)
    assert (code, wrong(findings)) == (0, set())
    services = {subject for check, subject in findings if check == "mesh"}
    assert services == {"router", "cache", "budget", "small-0", "model small"}
    assert findings["redis", "durability"]["says"] == "every write is on disk before its reply (appendfsync always)"
    assert (mesh.state / "api-key").read_text() not in str(findings)


@needs_openssl
def test_a_mesh_behind_certificates_is_asked_with_them(tokenway: Tokenway, tmp_path: Path) -> None:
    made = authority(tmp_path, "ours").tls("mesh", days=30)
    tls = {"certificate_file": made.certificate_file, "key_file": made.key_file}
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        router, cache, budget, model = (f"127.0.0.1:{each.getsockname()[1]}" for each in taken)
    config = scripted(
        tmp_path,
        services={"router": {"listen": router, "tls": tls}, "cache": {"listen": cache}, "budget": {"listen": budget}},
        models=[{**SCRIPTED["models"][0], "endpoints": [model]}],
        mesh_tls={**tls, "ca_file": made.ca_file},
    )
    up = tokenway.up(config)
    code, findings = examined(tokenway)
    assert up.end() == 0
    assert (code, wrong(findings)) == (0, set())
    assert {subject for check, subject in findings if check == "certificates"} == {"services.router.tls", "mesh_tls"}
    asked = {subject: each["verdict"] for (check, subject), each in findings.items() if check == "mesh"}
    assert asked == {"cache": "ok", "budget": "ok", "small-0": "ok", "router": "skipped"}
    held = [each["says"] for (check, _), each in findings.items() if check == "ports"]
    assert len(held) == 4
    assert all("is held by the mesh that runs here" in each for each in held)


def test_people_get_a_line_for_each_finding_and_its_cure_beside_it(tokenway: Tokenway, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = scripted(tmp_path, services={"router": {"listen": address}})
        done = tokenway.run("doctor", "--config", str(config))
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(
        rf"^wrong +ports +services\.router\.listen +{address} is in use by pid \d+, \S+ → kill \d+, or change",
        done.stdout,
        re.MULTILINE,
    )
    assert "\x1b" not in done.stdout
    assert re.fullmatch(r"1 wrong, \d+ warning, \d+ ok, \d+ skipped", done.stdout.splitlines()[-1])


def test_a_frozen_redis_holds_nothing_and_its_password_is_not_shown(
    tokenway: Tokenway, tmp_path: Path, own_valkey: RedisServer
) -> None:
    path = own_valkey.url.removeprefix("unix://")
    tokenway.environment["REDIS_URL"] = f"unix://me:hunter2@{path}"
    own_valkey.freeze()
    began = time.monotonic()
    code, findings = examined(tokenway, "--config", str(scripted(tmp_path)))
    assert (code, wrong(findings)) == (1, {("redis", "server")})
    assert "no answer within 3 s" in findings["redis", "server"]["says"]
    assert "hunter2" not in str(findings)
    assert time.monotonic() - began < 30


def test_a_collector_that_never_answers_holds_nothing_and_leaves_the_output_alone(
    tokenway: Tokenway, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        telemetry = {"otlp_endpoint": f"127.0.0.1:{deaf.getsockname()[1]}"}
        code, findings = examined(tokenway, "--config", str(scripted(tmp_path, telemetry=telemetry)))
    assert (code, wrong(findings)) == (1, {("collector", "target")})


def test_warnings_alone_are_no_failure(tokenway: Tokenway, tmp_path: Path) -> None:
    many = {"router": {"listen": "127.0.0.1:0", "max_concurrent_requests": 100_000}}
    code, findings = examined(tokenway, "--config", str(scripted(tmp_path, services=many)))
    assert (code, findings["machine", "open files"]["verdict"]) == (0, "warning")


def test_every_mistake_of_a_configuration_is_a_finding(tokenway: Tokenway, tmp_path: Path) -> None:
    config = scripted(tmp_path, quota=1, stores={"redis_url": "redis://me:hunter2@"}, organisations=[])
    done = tokenway.run("doctor", "--json", "--config", str(config))
    findings = json.loads(done.stdout)["findings"]
    mistakes = [each["says"] for each in findings if each["check"] == "configuration"]
    assert done.returncode == 1
    assert len(mistakes) == 3 or any("quota" in each for each in mistakes)
    assert "hunter2" not in done.stdout


def test_a_configuration_that_is_no_file_holds_nothing(tokenway: Tokenway, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = tokenway.run("doctor", "--json", "--config", str(tmp_path / "fifo"))
    assert done.returncode == 1
    assert "could not be read within" in json.loads(done.stdout)["findings"][0]["says"]


@pytest.mark.parametrize(
    "name", ["grpc", "pydantic", "yaml", "redis", "opentelemetry", "rich", "click", "google.protobuf"]
)
def test_a_package_that_is_missing_is_a_finding_and_no_traceback(tokenway: Tokenway, tmp_path: Path, name: str) -> None:
    command = (sys.executable, "-c", WITHOUT.format(name=name), "doctor", "--json")
    done = subprocess.run(
        (*command, "--config", str(scripted(tmp_path))),
        capture_output=True,
        text=True,
        env=tokenway.environment,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    jsonschema.validate(report, SCHEMA)
    assert any(name.partition(".")[0] in each["says"] for each in report["findings"] if each["verdict"] == "wrong")


def test_any_command_says_which_package_is_missing(tokenway: Tokenway) -> None:
    command = (sys.executable, "-c", WITHOUT.format(name="grpc"), "models")
    done = subprocess.run(command, capture_output=True, text=True, env=tokenway.environment, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("wrong: import: grpc cannot be imported")
    assert "→ make setup" in done.stderr
