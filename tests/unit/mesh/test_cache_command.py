"""How `tokenway cache` shows what it is told; without a mesh."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from click.testing import CliRunner

from services.mesh.cli import cache as command
from tokenway.router.v1 import admin_pb2 as pb


class Router:
    """Answers with what it is given, and remembers what it was asked to drop."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.dropped: list[pb.InvalidateCacheRequest] = []

    async def get_cache_stats(self) -> Any:
        return self.answer

    async def explain_cache(self, question: Any) -> Any:
        return self.answer

    async def invalidate_cache(self, request: pb.InvalidateCacheRequest) -> Any:
        self.dropped.append(request)
        return self.answer


def run(monkeypatch: pytest.MonkeyPatch, answer: Any, *arguments: str) -> tuple[Any, Router]:
    router = Router(answer)
    monkeypatch.setattr(command, "place", lambda **_: None)
    monkeypatch.setattr(command, "ask", lambda _, question: asyncio.run(question(router)))
    return CliRunner().invoke(command.cache, arguments), router


def rows(output: str) -> dict[str, str]:
    """What stands after each name."""
    lines = [line.split("  ", 1) for line in output.splitlines() if "  " in line]
    return {name: value.strip() for name, value in lines}


def test_the_wrong_share_has_its_bound_and_what_it_rests_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told = pb.GetCacheStatsResponse(
        lookups=1_000,
        hits=450,
        labels=2_000,
        estimated_wrong_share=0.021,
        wrong_share_upper_bound=0.0432,
        calibrated_threshold=0.64,
    )

    shown = rows(run(monkeypatch, told, "stats")[0].output)

    assert shown["hits"] == "450 (45.0%)"
    assert shown["wrong share of semantic hits"] == "2.1%, at most 4.3% (of 2,000 labels)"
    assert shown["calibrated share of votes"] == "0.640 or more"


def test_what_one_label_says_is_no_wrong_share(monkeypatch: pytest.MonkeyPatch) -> None:
    told = pb.GetCacheStatsResponse(labels=1, estimated_wrong_share=1, wrong_share_upper_bound=1)

    shown = rows(run(monkeypatch, told, "stats")[0].output)

    assert shown["wrong share of semantic hits"] == "not known yet: too few labels (1)"


def test_what_is_not_known_yet_is_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = rows(run(monkeypatch, pb.GetCacheStatsResponse(calibrated_threshold=2), "stats")[0].output)

    assert shown["wrong share of semantic hits"] == "not known yet"
    assert shown["calibrated share of votes"] == "none is enough yet"


def test_a_neighbour_has_its_cosine_its_votes_and_what_the_guard_says(monkeypatch: pytest.MonkeyPatch) -> None:
    near = pb.CacheNeighbour(source_request_id="req-1", similarity=0.98514, votes=0.71234, guard="negation")
    told = pb.ExplainCacheResponse(model="small", key="ab", partition="cd", threshold=0.9, neighbours=[near])

    output = run(monkeypatch, told, "explain", "Is it not safe?")[0].output

    assert rows(output)["exact cache"] == "nothing stored"
    assert rows(output)["semantic cache"] == "cosine 0.900 or more"
    assert output.splitlines()[-1].split() == ["0.9851", "0.712", "negation", "req-1"]


@pytest.mark.parametrize(
    ("demanded", "shown"),
    [
        ({"votes_threshold": 0.64}, "share of votes 0.640 or more"),
        ({"votes_threshold": 2}, "share of votes none is enough yet"),
        ({"threshold": 0.95, "votes_threshold": 0.64}, "cosine 0.950 or more, share of votes 0.640 or more"),
    ],
)
def test_what_is_demanded_is_a_cosine_or_a_share_of_votes_or_both(
    monkeypatch: pytest.MonkeyPatch, demanded: dict[str, float], shown: str
) -> None:
    told = pb.ExplainCacheResponse(model="small", **demanded)  # type: ignore[arg-type] # all are numbers
    assert rows(run(monkeypatch, told, "explain", "x")[0].output)["semantic cache"] == shown


def test_why_the_cache_is_not_used_is_said_of_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    told = pb.ExplainCacheResponse(model="small", bypass_reason="temperature", semantic_bypass_reason="code")

    shown = rows(run(monkeypatch, told, "explain", "x")[0].output)

    assert (shown["exact cache"], shown["semantic cache"]) == ("not used: temperature", "not used: code")


@pytest.mark.parametrize("arguments", [(), ("--all", "--model", "small"), ("--model", "small", "--tag", "a=1")])
def test_one_thing_is_dropped_at_a_time(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    shown, router = run(monkeypatch, 1, "invalidate", *arguments)

    assert (shown.exit_code, router.dropped) == (2, [])
    assert "say what to drop, once" in shown.output


def test_a_revision_is_one_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, _ = run(monkeypatch, 1, "invalidate", "--all", "--revision", "2")
    _, router = run(monkeypatch, 1, "invalidate", "--model", "small", "--revision", "2")

    assert "--revision goes with --model" in refused.output
    assert router.dropped == [pb.InvalidateCacheRequest(model="small", model_revision="2")]


def test_what_was_dropped_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, router = run(monkeypatch, 1_234, "invalidate", "--tag", "doc=1")

    assert (shown.output, router.dropped) == ("1,234 dropped\n", [pb.InvalidateCacheRequest(tag="doc=1")])


@pytest.mark.parametrize(
    ("model", "dropped", "warning"),
    [("nope", 0, "warning: no model nope is configured: there are small\n"), ("small", 0, ""), ("gone", 3, "")],
)
def test_a_model_of_which_nothing_can_be_dropped_is_said_to_be_none(
    monkeypatch: pytest.MonkeyPatch, model: str, dropped: int, warning: str
) -> None:
    async def models(_: Any) -> list[str]:
        return ["small"]

    monkeypatch.setattr(command, "_models", models)
    done, _ = run(monkeypatch, dropped, "invalidate", "--model", model)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{dropped} dropped\n", warning)
