"""What holds for every command: JSON for programs, pipes, signals, a shell that completes."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.mesh_cli.command import COMMAND, PATIENCE_SECONDS, Tokenway, scripted

pytestmark = pytest.mark.processes


def completed(user: Tokenway, line: str) -> list[str]:
    """What bash would offer at the end of the line."""
    words = line.split(" ")
    environment = {
        **user.environment,
        "_TOKENWAY_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    # Never written to: whoever read it would hang.
    silent, held = os.pipe()
    try:
        done = subprocess.run(
            COMMAND, env=environment, stdin=silent, capture_output=True, text=True, timeout=20, check=False
        )
    finally:
        os.close(silent)
        os.close(held)
    assert (done.returncode, done.stderr) == (0, "")
    return [each.partition(",")[2] for each in done.stdout.splitlines() if each]


@pytest.fixture(scope="module")
def asked(mesh: Tokenway) -> str:
    """The id of a request that was made."""
    done = mesh.run("chat", "hello")
    assert mesh.run("trace", "last").returncode == 0  # its spans have come
    return done.stderr.split()[-1]


def test_a_shell_is_offered_what_the_mesh_has(mesh: Tokenway, asked: str) -> None:
    assert completed(mesh, "tokenway chat --model ") == ["small"]
    assert completed(mesh, "tokenway chat --model x") == []
    assert completed(mesh, "tokenway keys revoke lo") == ["local"]
    assert completed(mesh, "tokenway budget set ") == ["organisation", "key:local"]
    assert completed(mesh, "tokenway trace la") == ["last"]
    assert asked in completed(mesh, "tokenway trace ")
    assert completed(mesh, "tokenway bud") == ["budget"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tokenway chat --model ", []),
        ("tokenway chat - --model ", []),
        ("tokenway keys revoke ", []),
        ("tokenway budget set ", ["organisation"]),
        ("tokenway budget set key:ci day -1 ", ["organisation"]),
        ("tokenway trace ", ["last"]),
        ("tokenway chat --router 192.0.2.1:443 --model ", []),
        ("tokenway chat --state-dir /dev/null --model ", []),
    ],
)
def test_without_a_mesh_there_is_nothing_to_offer_and_no_error(
    tokenway: Tokenway, line: str, offered: list[str]
) -> None:
    tokenway.environment["TOKENWAY_API_KEY"] = "any"
    assert completed(tokenway, line) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_how_to_install_it(tokenway: Tokenway, tmp_path: Path, shell: str) -> None:
    done = tokenway.run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# ")
    assert f"tokenway completion {shell}" in done.stdout.splitlines()[0]
    assert f"_TOKENWAY_COMPLETE={shell}_complete" in done.stdout
    if found := shutil.which(shell):
        (tmp_path / "script").write_text(done.stdout)
        assert subprocess.run((found, "-n", str(tmp_path / "script")), check=False).returncode == 0


def test_a_trace_in_json_is_a_span_a_line_parents_first(mesh: Tokenway, asked: str) -> None:
    done = mesh.run("trace", "--json", asked)
    spans = [json.loads(line) for line in done.stdout.splitlines()]
    assert spans[0]["parent_span_id"] == ""
    for position, span in enumerate(spans[1:], start=1):
        assert span["parent_span_id"] in {each["span_id"] for each in spans[:position]}


def test_a_failure_is_an_object_too(tokenway: Tokenway, mesh: Tokenway, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("any")
    for user, arguments, reason, code in (
        (tokenway, ("models",), "MESH", 1),
        (tokenway, ("trace", "last"), "MESH", 1),
        (tokenway, ("keys", "list", "--router", "127.0.0.1:1"), "KEY_MISSING", 4),
        (mesh, ("budget", "list", "--router", "127.0.0.1:1", "--key-file", str(key)), "SERVICE_UNAVAILABLE", 6),
        (mesh, ("explain", "--temperature", "9", "x"), "INVALID_REQUEST", 3),
    ):
        done = user.run(*arguments, "--json")
        (line,) = done.stdout.splitlines()
        error = json.loads(line)["error"]
        assert (error["reason"], error["exit_code"], done.returncode) == (reason, code, code)
        assert error["message"] in done.stderr


def test_a_configuration_is_judged_for_programs(tokenway: Tokenway, tmp_path: Path) -> None:
    good = tokenway.run("config", "check", "--json", str(scripted(tmp_path)))
    assert (good.returncode, json.loads(good.stdout)) == (0, {"valid": True, "mistakes": []})
    config = scripted(tmp_path, quota=1)
    bad = tokenway.run("config", "check", "--json", str(config))
    (mistake,) = json.loads(bad.stdout)["mistakes"]
    assert bad.returncode == 2
    assert (mistake["source"], mistake["line"] > 0, "quota" in mistake["message"]) == (str(config), True, True)


def test_a_reader_that_leaves_before_the_first_line_is_no_error(mesh: Tokenway) -> None:
    # With it nothing is left to be written at the very end, which is where it goes wrong.
    environment = {name: value for name, value in mesh.environment.items() if name != "PYTHONUNBUFFERED"}
    for arguments in (
        ("models", "--json"),
        ("models",),
        ("doctor",),
        ("config", "schema"),
        ("completion", "fish"),
        ("--help",),
    ):
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "wb") as nobody:  # noqa: PTH123 - a descriptor
            done = subprocess.run(
                (*COMMAND, *arguments),
                stdout=nobody,
                stderr=subprocess.PIPE,
                env=environment,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        assert (done.returncode, done.stderr) == (1, b""), arguments


def test_an_interrupt_ends_an_examination(tokenway: Tokenway, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    doctor = tokenway.start("doctor", "--config", str(fifo))
    # Opening the other end waits until it reads: so it is in the middle of its work.
    with fifo.open("wb"):
        doctor.send(signal.SIGINT)
        assert doctor.process.wait(PATIENCE_SECONDS) == 130
    assert doctor.errors == "\ninterrupted\n"


@pytest.mark.parametrize("no_color", [True, False])
def test_a_terminal_gets_colours_unless_it_wants_none(tokenway: Tokenway, tmp_path: Path, no_color: bool) -> None:
    environment = {**tokenway.environment, "TERM": "xterm-256color", "COLUMNS": "80"}
    if not no_color:
        del environment["NO_COLOR"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        (*COMMAND, "doctor", "--config", str(scripted(tmp_path))),
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        os.close(theirs)
        shown = _read(ours)
        process.wait(PATIENCE_SECONDS)
    colours = re.findall(r"\x1b\[[0-9;]*3[0-9]m|\x1b\[[0-9;]*9[0-9]m", shown)
    assert bool(colours) is not no_color
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(len(line) for line in plain.splitlines()) <= 80


def _read(terminal: int) -> str:
    chunks = []
    try:
        while chunk := os.read(terminal, 1 << 16):
            chunks.append(chunk)
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return b"".join(chunks).decode()
