"""Commands of administrators, with a running mesh: its own key is an administrator's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mesh_cli.command import Tokenway, scripted

pytestmark = pytest.mark.processes


def refused_at_last(exit_code: Callable[[], int]) -> bool:
    """A router knows a key for half a second, and a command may take less."""
    return any(exit_code() == 4 for _ in range(10))


def test_a_key_is_printed_once_works_and_is_revoked(mesh: Tokenway) -> None:
    made = mesh.run("keys", "create", "ci", "--user", "ada", "--model", "small", "--expires", "90d")
    secret = made.stdout.strip()
    asked = ask_with(mesh, secret)
    listed = mesh.run("keys", "list").stdout
    revoked = mesh.run("keys", "revoke", "ci")

    assert re.fullmatch(r"tw_[A-Za-z0-9_-]{43}", secret)
    assert made.stderr == "The key ci, role caller. It is shown this once: keep it where it is safe.\n"
    assert asked == 0
    assert re.search(r"^ci +caller +ada +- +small +20\S+ \S+ UTC +20\S+ \S+ UTC +-$", listed, re.MULTILINE)
    assert re.search(r"^local +admin +- +- +all +- +- +-$", listed, re.MULTILINE)
    assert secret not in listed
    assert re.fullmatch(r"ci is revoked since 20\S+ \S+ UTC\n", revoked.stdout)
    assert refused_at_last(lambda: ask_with(mesh, secret))


def test_the_mesh_s_own_key_is_revoked_by_force_and_made_anew(tokenway: Tokenway, tmp_path: Path) -> None:
    up = tokenway.up(scripted(tmp_path))
    refused = tokenway.run("keys", "revoke", "local")
    still_there = tokenway.run("keys", "list").returncode
    forced = tokenway.run("keys", "revoke", "local", "--force")
    locked_out = refused_at_last(lambda: tokenway.run("keys", "list").returncode)
    examined = tokenway.run("doctor", "--config", str(tmp_path / "mesh.yaml"))
    up.end()
    (tokenway.state / "api-key").unlink()
    again = tokenway.up(scripted(tmp_path))
    recovered = tokenway.run("keys", "list").returncode
    again.end()

    assert (refused.returncode, still_there, forced.returncode, locked_out, recovered) == (1, 0, 0, True, 0)
    assert "local is the last key of an administrator" in refused.stderr
    assert f"rm {tokenway.state}/api-key" in " ".join(examined.stdout.split())


def test_keys_in_json(mesh: Tokenway) -> None:
    made = json.loads(mesh.run("keys", "create", "--json", "json", "--role", "admin").stdout)
    listed = [json.loads(line) for line in mesh.run("keys", "list", "--json").stdout.splitlines()]
    revoked = json.loads(mesh.run("keys", "revoke", "json", "--json").stdout)

    assert made["secret"].startswith("tw_")
    assert made["key"]["principal"]["role"] == "KEY_ROLE_ADMIN"
    assert made["key"] in listed
    assert revoked == {**made["key"], "revoked_at": revoked["revoked_at"]}


def test_a_caller_makes_no_keys(mesh: Tokenway) -> None:
    secret = mesh.run("keys", "create", "caller").stdout.strip()
    mesh.environment["TOKENWAY_API_KEY"] = secret
    try:
        refused = mesh.run("keys", "list")
    finally:
        del mesh.environment["TOKENWAY_API_KEY"]

    assert (refused.returncode, refused.stdout) == (4, "")
    assert refused.stderr.startswith("error: ROLE_REQUIRED: the API key caller has the role caller")


def test_a_limit_is_set_seen_kept_to_and_deleted(mesh: Tokenway) -> None:
    secret = mesh.run("keys", "create", "poor").stdout.strip()
    put = mesh.run("budget", "set", "key:poor", "day", "0.000001")
    refused = ask_with(mesh, secret)
    (listed,) = map(json.loads, mesh.run("budget", "list", "--json").stdout.splitlines())
    deleted = [mesh.run("budget", "delete", "key:poor", "day").stdout for _ in range(2)]

    assert re.search(r"^key:poor +day +money +\$0\.000001 +\$0 +\$0 +20\S+ 00:00 UTC$", put.stdout, re.MULTILINE)
    assert refused == 5
    assert (listed["budget"]["subject"], listed["budget"]["limit"], listed["used"]) == ("poor", "1", "0")
    assert deleted == ["deleted\n", "there was none\n"]
    assert ask_with(mesh, secret) == 0


def test_limits_of_every_kind_are_set_listed_and_told_apart(mesh: Tokenway) -> None:
    rate = ("team:compilers", "minute", "--kind", "requests")
    put = [
        mesh.run("budget", "set", *rate[:2], "60", *rate[2:]),
        mesh.run("budget", "set", *rate[:2], "40", *rate[2:], "--soft"),
        mesh.run("budget", "set", "user:ada", "total", "--kind", "concurrency", "4"),
    ]
    listed = mesh.run("budget", "list").stdout
    deleted = [mesh.run("budget", "delete", *rate, *soft).stdout for soft in ((), ("--soft",), ())]
    mesh.run("budget", "delete", "user:ada", "total", "--kind", "concurrency")

    assert [each.returncode for each in put] == [0, 0, 0]
    for row in (r"user:ada +total +concurrency +4 +0 +0 +-", r"team:compilers +minute +requests +40 \(soft\) +0 +0 +-"):
        assert re.search(rf"^{row}", listed, re.MULTILINE), listed
    assert deleted == ["deleted\n", "deleted\n", "there was none\n"]


def test_what_is_not_served_says_so(mesh: Tokenway) -> None:
    refused = mesh.run("budget", "set", "team:compilers", "minute", "1", "--kind", "concurrency")
    no_number = mesh.run("budget", "set", "team:compilers", "minute", "1.5", "--kind", "requests")

    assert refused.returncode == 3
    assert "budget.window: is minute: open requests are counted at any instant" in refused.stderr
    assert no_number.returncode == 2
    assert "'1.5': give a whole number of at least 0 and at most 1,000,000,000,000,000" in no_number.stderr


def test_the_cache_is_explained_counted_and_emptied(mesh: Tokenway) -> None:
    mesh.run("chat", "what is stored?")
    explained = json.loads(mesh.run("cache", "explain", "what is stored?", "--json").stdout)
    counted = json.loads(mesh.run("cache", "stats", "--json").stdout)
    mesh.run("chat", "what is stored?")
    reported = [mesh.run("cache", "report", "last").stdout for _ in range(2)]
    mesh.run("chat", "what is stored?")
    dropped = mesh.run("cache", "invalidate", "--all").stdout
    again = mesh.run("cache", "explain", "what is stored?").stdout

    assert (explained["model"], explained["stored"]) == ("small", True)
    assert int(counted["lookups"]) > 0
    assert reported[0] == "evicted\n"
    assert reported[1].startswith("nothing to evict")
    assert re.fullmatch(r"[1-9]\d* dropped\n", dropped)
    assert re.search(r"^exact cache +nothing stored$", again, re.MULTILINE)


def test_what_a_request_cost_is_found_by_its_id_and_by_its_key(mesh: Tokenway) -> None:
    asked = json.loads(mesh.run("chat", "--no-cache", "--json", "what does it cost?").stdout.splitlines()[-1])
    (last,) = map(json.loads, mesh.run("receipts", "last", "--json").stdout.splitlines())
    by_key = mesh.run("receipts", "--key", "local", "--most", "1").stdout.splitlines()
    nobodys = mesh.run("receipts", "--key", "nobody").stdout.splitlines()

    assert last["request_id"] in json.dumps(asked)
    assert (last["outcome"], last["key_id"]) == ("OUTCOME_FINISHED", "local")
    assert len(by_key) == 2
    assert last["request_id"] in by_key[1]
    assert len(nobodys) == 1, "the headings"


def ask_with(mesh: Tokenway, key: str) -> int:
    """The exit code of a question with that key, not from the cache."""
    mesh.environment["TOKENWAY_API_KEY"] = key
    try:
        return mesh.run("chat", "--no-cache", "hello").returncode
    finally:
        del mesh.environment["TOKENWAY_API_KEY"]
