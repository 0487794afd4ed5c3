"""Commands that talk to a running mesh."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.mesh_cli.command import COMMAND, Tokenway, scripted

pytestmark = pytest.mark.processes


def test_the_answer_streams(mesh: Tokenway) -> None:
    chat = mesh.start("chat", "--no-cache", "[[tokens=100]] tell me a tale")
    assert chat.output.read(1) != ""
    assert chat.process.poll() is None, "the first word came when the answer was whole"
    assert chat.process.wait(20) == 0
    assert re.search(
        r"small · \d+ \+ \d+ tokens · \$0\.0\d+ · first token \d+ ms · .* · request [0-9a-f]{32}", chat.errors
    )


def test_the_second_time_it_comes_from_the_cache_for_nothing(mesh: Tokenway) -> None:
    first, second = mesh.run("chat", "once more"), mesh.run("chat", "once more")
    assert first.stdout == second.stdout
    assert "from the cache" not in first.stderr
    assert re.match(r"from the cache, \d+ s old · small · no tokens made · \$0 · ", second.stderr)


def test_json_is_one_object_a_line_the_receipt_last(mesh: Tokenway) -> None:
    result = mesh.run("chat", "--json", "json please")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [next(iter(event)) for event in events] == ["started", *["delta"] * (len(events) - 2), "finished"]
    text = "".join(piece for event in events[1:-1] for piece in event["delta"]["text"])
    assert text == mesh.run("chat", "json please").stdout.rstrip("\n")
    receipt = events[-1]["finished"]["receipt"]
    assert receipt["request_id"] == events[0]["started"]["request_id"]
    assert int(receipt["cost_micro_usd"]) > 0
    cached = json.loads(mesh.run("chat", "--json", "json please").stdout.splitlines()[-1])
    assert cached["finished"]["receipt"]["cost_micro_usd"] == "0"


def test_why_an_answer_is_made_anew_each_time_is_said(mesh: Tokenway) -> None:
    warm = [mesh.run("chat", "--temperature", "1", "warm").stderr for _ in range(2)]
    assert all(each.startswith("not cached: temperature above 0 · small · ") for each in warm)
    assert "not cached" not in mesh.run("chat", "cold").stderr
    assert "not cached" not in mesh.run("chat", "--no-cache", "--temperature", "1", "warm").stderr


def test_soft_limits_that_are_passed_are_said(mesh: Tokenway) -> None:
    mesh.run("budget", "set", "key:local", "total", "0", "--soft")
    said = mesh.run("chat", "--no-cache", "hi").stderr
    mesh.run("budget", "delete", "key:local", "total", "--soft")
    assert re.search(r"^warning: soft limits are passed: key:local money/total \$0\.\d+ of \$0$", said, re.MULTILINE)
    assert "soft" not in mesh.run("chat", "--no-cache", "hi").stderr


def test_a_question_may_be_piped_in(mesh: Tokenway) -> None:
    asked = mesh.run("chat", "piped").stdout
    assert mesh.run("chat", "-", given="piped").stdout == asked
    assert mesh.run("chat", given="piped").stdout == asked


def test_an_interrupt_cancels_and_says_so(mesh: Tokenway) -> None:
    chat = mesh.start("chat", "--no-cache", "[[tokens=500]] a very long tale")
    assert chat.output.read(1) != ""
    assert chat.end(signal.SIGINT) == 130
    said = re.fullmatch(
        r"error: CANCELLED: interrupted; what came before of request ([0-9a-f]{32}) is billed\n", chat.errors
    )
    assert said, chat.errors
    assert mesh.run("trace", "last").stdout == mesh.run("trace", said[1]).stdout != ""


def test_an_error_stands_on_a_line_of_its_own(mesh: Tokenway) -> None:
    result = mesh.run("chat", "--no-cache", "[[tokens=50]] [[fault:cut_after=10]]")
    assert (result.returncode, result.stdout[-1:], len(result.stdout.split())) == (6, "\n", 10)
    assert result.stderr.startswith("error: STREAM_BROKEN: ")


def test_a_reader_that_has_seen_enough_ends_it_quietly(mesh: Tokenway) -> None:
    chat = mesh.start("chat", "--no-cache", "[[tokens=500]] another very long tale")
    assert chat.output.read(1) != ""
    chat.output.close()
    assert chat.process.wait(20) == 1
    assert chat.errors == ""


def test_a_time_limit_is_kept(mesh: Tokenway) -> None:
    result = mesh.run("chat", "--no-cache", "--timeout", "0.5", "[[tokens=500]] too long a tale")
    assert (result.returncode, result.stderr.partition(":")[2].partition(":")[0]) == (6, " OUT_OF_TIME")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("chat", ""), 3, "INVALID_REQUEST"),
        (("chat", "--temperature", "9", "hi"), 3, "INVALID_REQUEST"),
        (("chat", "--model", "none", "hi"), 3, "INVALID_REQUEST: request.model: is 'none'"),
        (("chat", "--task", "poetry", "hi"), 3, "NO_MODEL_QUALIFIES"),
        (("chat", "--max-tokens", "100000", "hi"), 3, "[A-Z]+"),
        (("chat", "--router", "127.0.0.1:1", "hi"), 4, "KEY_MISSING"),
    ],
)
def test_what_is_refused_says_why_in_one_line(
    mesh: Tokenway, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    result = mesh.run(*arguments)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert re.match(rf"error: {reason}", result.stderr)
    assert len(result.stderr.splitlines()) == 1


def test_an_unknown_key_is_refused(mesh: Tokenway, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("tw_" + "x" * 43)
    result = mesh.run("chat", "--key-file", str(tmp_path / "key"), "hi")
    assert result.returncode == 4
    assert re.fullmatch(r"error: KEY_UNKNOWN: .*; request [0-9a-f]{32}\n", result.stderr)


def test_an_error_is_an_object_too_where_json_is_wanted(mesh: Tokenway) -> None:
    result = mesh.run("chat", "--json", "--temperature", "9", "hi")
    (line,) = result.stdout.splitlines()
    error = json.loads(line)["error"]
    assert (error["reason"], error["exit_code"], result.returncode) == ("INVALID_REQUEST", 3, 3)
    assert error["request_id"] in result.stderr


def test_a_router_that_is_not_there_is_unavailable(mesh: Tokenway, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("any")
    result = mesh.run("chat", "--router", "127.0.0.1:1", "--key-file", str(tmp_path / "key"), "--timeout", "5", "hi")
    assert result.returncode == 6
    assert result.stderr.startswith(
        "error: SERVICE_UNAVAILABLE: router: cannot be reached at 127.0.0.1:1: nothing listens there: start the mesh"
    )


def test_a_budget_that_is_spent_says_which_and_when_again(tokenway: Tokenway, tmp_path: Path) -> None:
    limit = {"scope": "organisation", "window": "day", "limit_usd": 0.00003}
    up = tokenway.up(scripted(tmp_path, organisations=[{"name": "acme", "budgets": [limit]}]))
    assert tokenway.run("chat", "--max-tokens", "50", "one").returncode == 0
    result = tokenway.run("chat", "--max-tokens", "50", "two")
    assert result.returncode == 5
    assert re.match(
        r"error: BUDGET_EXCEEDED: organisation: \$0\.0\S+ of \$0\.00003 spent in this day.*; "
        r"again in .*, at 2\d\d\d-.* UTC; request [0-9a-f]{32}$",
        result.stderr,
    )
    assert tokenway.run("chat", "--max-tokens", "50", "one").returncode == 0, "a cached answer costs nothing"
    assert up.end() == 0


def test_models_are_listed(mesh: Tokenway) -> None:
    heading, row = mesh.run("models").stdout.splitlines()
    assert heading.split()[:2] == ["model", "tier"]
    assert row.split() == ["small", "small", "$0.20", "$0.20", "4,096", "2", "s", "simple_qa", "yes"]
    (line,) = mesh.run("models", "--json").stdout.splitlines()
    assert json.loads(line)["name"] == "small"


def test_a_route_is_explained_without_being_taken(mesh: Tokenway) -> None:
    lines = mesh.run("explain", "hello").stdout.splitlines()
    assert lines[0].startswith("small: ")
    assert lines[2].split()[:2] == ["1", "small"]
    refused = mesh.run("explain", "--task", "poetry", "hello")
    assert refused.returncode == 0
    assert "poetry" in refused.stdout


def test_the_trace_of_a_request_reaches_the_engine(mesh: Tokenway) -> None:
    receipt = mesh.run("chat", "--no-cache", "trace me").stderr
    request_id = receipt.split()[-1]
    tree = mesh.run("trace", request_id)
    assert tree.returncode == 0
    for span in ("RouterService/StreamGenerate", "BudgetService/Reserve", "InferenceService/Generate", "engine"):
        assert span in tree.stdout
    assert mesh.run("trace", "last").stdout == tree.stdout


def test_an_unknown_request_has_no_trace(mesh: Tokenway) -> None:
    result = mesh.run("trace", "0" * 32)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: no spans of request {'0' * 32} in ")


def test_without_a_mesh_the_cure_is_named(tokenway: Tokenway) -> None:
    for command in ("chat", "explain"):
        result = tokenway.run(command, "hi")
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == (
            f"error: no mesh runs in {tokenway.state}; start one with `tokenway up`, or name one with --router\n"
        )


def test_nothing_is_coloured_into_a_pipe(mesh: Tokenway) -> None:
    mesh.environment.pop("NO_COLOR", None)
    for arguments in (("chat", "hi"), ("models",), ("explain", "hi"), ("trace", "last")):
        assert "\x1b" not in mesh.run(*arguments).stdout


def test_a_model_cannot_command_the_terminal(mesh: Tokenway) -> None:
    """On a terminal the receipt is below the text, and what the model says is text."""
    ours, theirs = os.openpty()
    question = (*COMMAND, "chat", "--no-cache", "[[echo=one \x1b[31mred\x07 two]]")
    with subprocess.Popen(question, stdout=theirs, stderr=theirs, env=mesh.environment) as chat:
        os.close(theirs)
        shown = b"".join(iter(lambda: read_terminal(ours), b"")).decode()
    os.close(ours)
    assert chat.returncode == 0, shown
    text, receipt = shown.splitlines()[:2]
    assert text == "one [31mred two"
    assert " tokens · $0.0" in receipt


def read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4_096)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_help_needs_no_mesh_and_names_every_command() -> None:
    result = subprocess.run((*COMMAND, "--help"), capture_output=True, text=True, check=True)
    for name in ("demo", "up", "chat", "models", "explain", "trace", "config"):
        assert f"\n  {name} " in result.stdout
