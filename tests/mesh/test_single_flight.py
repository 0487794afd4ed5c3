"""Many who ask the same at once have one answer made, and get it as it comes, whoever of them leaves or fails.

Answers stand before a gate until a test opens it, so that however long anything takes, they are still being made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.keys import sha256_of
from libs.settings import schema
from libs.telemetry import names
from services.mesh.client.admin import administering
from services.mesh.client.router import RouterAddress, connected
from tests.chaos.dated_engine import DatedEngine, dated
from tests.mesh.in_process import ADMIN_KEY, OTHER_KEY, limit, organisations, question, with_admin
from tests.mesh.twice import Event, Twice, ending, events, text, twice
from tokenway.client.router import RouterClient
from tokenway.common.v1 import generation_pb2, money_pb2
from tokenway.router.v1 import admin_pb2, router_pb2

MISS, SHARED = router_pb2.CACHE_VERDICT_MISS, router_pb2.CACHE_VERDICT_SHARED


_PATIENCE_SECONDS = 60.0
LOOKUP = "tokenway.cache.v1.CacheService/Lookup"
GENERATE = "tokenway.inference.v1.InferenceService/Generate"


class Gate:
    """What answers stand before."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def held(self, text: str = "[[tokens=40]]", *, after: int = 0, max_tokens: int = 64) -> router_pb2.GenerateRequest:
        """What is answered with so many tokens, and with the rest when the gate is open."""
        return question(f"[[gate={self._file}]] [[gate_after={after}]] {text}", max_tokens=max_tokens)

    def open(self) -> None:
        self._file.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Closed."""
    return Gate(tmp_path / "gate")


def verdicts(answers: list[list[Event]]) -> list[int]:
    return sorted(each[0].started.cache_verdict for each in answers)


def receipt(stream: list[Event]) -> money_pb2.Receipt:
    return stream[-1].finished.receipt


class Asking:
    """A request that has begun: it can be seen to have got something, and can leave."""

    def __init__(
        self, client: RouterClient, request: router_pb2.GenerateRequest, *, seconds: float = _PATIENCE_SECONDS
    ) -> None:
        self.got: list[Event] = []
        self._some = asyncio.Event()
        self.task = asyncio.create_task(self._read(client, request, seconds))

    async def _read(self, client: RouterClient, request: router_pb2.GenerateRequest, seconds: float) -> list[Event]:
        async with client.stream_generate(request, timeout_seconds=seconds) as stream:
            async for each in stream:
                self.got.append(each)
                if each.HasField("delta"):
                    self._some.set()
        return self.got

    async def delivered(self) -> None:
        """Returns once there is some text."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self._some.wait()

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})

    async def ended(self) -> Any:
        """The events, or the error."""
        (result,) = await asyncio.gather(self.task, return_exceptions=True)
        return result


async def until(so: Callable[[], object]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not so():  # noqa: ASYNC110 # a server's state: nothing to wait on
            await asyncio.sleep(0.01)


async def followed(mesh: Twice, count: int) -> None:
    """Returns once so many follow."""
    await until(lambda: mesh.cached(names.METRIC_CACHE_FOLLOWERS) >= count)


async def generating(mesh: Twice, count: int) -> None:
    """Returns once so many answers are being made."""
    await until(lambda: mesh.mesh.metrics["small-0"].sample(names.METRIC_RPC_IN_FLIGHT, method=GENERATE) >= count)


def asking(mesh: Twice, request: router_pb2.GenerateRequest, *, count: int) -> list[Asking]:
    """So many at once, over both routers in turn."""
    return [Asking(mesh.clients[number % 2], request) for number in range(count)]


async def led(mesh: Twice, request: router_pb2.GenerateRequest, *, followers: int = 4, **leader: Any) -> list[Asking]:
    """A leader, and followers over both routers; the leader is the first."""
    first = Asking(mesh.clients[0], request, **leader)
    await until(lambda: mesh.mesh.metrics["cache-1"].sample(names.METRIC_RPC_IN_FLIGHT, method=LOOKUP))
    rest = asking(mesh, request, count=followers)
    await followed(mesh, followers)
    return [first, *rest]


async def test_all_who_ask_the_same_at_once_have_one_answer_made(redis_url: str, gate: Gate) -> None:
    """As many as one process can bear beside a busy machine; tests/chaos asks with a hundred."""
    async with twice(redis_url) as mesh:
        asked = asking(mesh, gate.held(), count=30)
        await followed(mesh, 29)
        gate.open()
        answers = [await each.ended() for each in asked]
        assert mesh.generations == 1
        assert {text(each) for each in answers} == {text(answers[0])}
        assert verdicts(answers) == [MISS] + [SHARED] * 29
        paid = [each for each in map(receipt, answers) if each.cost_micro_usd]
        free = [each for each in map(receipt, answers) if not each.cost_micro_usd]
        assert len(paid) == 1
        await mesh.mesh.settled()
        assert (await mesh.mesh.money())["BUDGET_WINDOW_DAY"] == (paid[0].cost_micro_usd, 0)
    for each in free:
        assert each.outcome == money_pb2.OUTCOME_SHARED
        assert (each.cached.kind, each.cached.source_request_id) == (money_pb2.CACHE_KIND_SHARED, paid[0].request_id)
        assert each.cached.original_usage == paid[0].usage


async def test_followers_get_the_answer_while_it_is_made_and_later_ones_from_its_beginning(
    redis_url: str, gate: Gate
) -> None:
    request = gate.held("[[tokens=100]]", after=50, max_tokens=200)
    async with twice(redis_url) as mesh:
        first, second, third = await led(mesh, request, followers=2)
        await asyncio.gather(second.delivered(), third.delivered())
        late = Asking(mesh.clients[1], request)
        await late.delivered()
        gate.open()
        whole = await first.ended()
        for each in (second, third, late):
            assert text(await each.ended()) == text(whole)
        assert mesh.generations == 1


async def test_what_was_shared_is_a_hit_afterwards(redis_url: str, gate: Gate) -> None:
    async with twice(redis_url) as mesh:
        asked = await led(mesh, gate.held())
        gate.open()
        assert verdicts([await each.ended() for each in asked]) == [MISS] + [SHARED] * 4
        assert verdicts([await events(mesh.clients[1], gate.held())]) == [router_pb2.CACHE_VERDICT_HIT]


async def test_an_answer_that_is_cut_by_length_is_shared_and_not_stored(redis_url: str, gate: Gate) -> None:
    cut = gate.held(max_tokens=20)
    async with twice(redis_url) as mesh:
        asked = await led(mesh, cut)
        gate.open()
        answers = [await each.ended() for each in asked]
        assert {each[-1].finished.finish_reason for each in answers} == {generation_pb2.FINISH_REASON_LENGTH}
        assert mesh.generations == 1
        assert verdicts([await events(mesh.clients[1], cut)]) == [MISS]


@pytest.mark.parametrize("after", [0, 15], ids=["before the first token", "in mid-answer"])
async def test_when_the_leader_leaves_exactly_one_follower_takes_its_place(
    redis_url: str, gate: Gate, after: int
) -> None:
    async with twice(redis_url) as mesh:
        first, *rest = await led(mesh, gate.held("[[tokens=60]]", after=after, max_tokens=100))
        if after:
            await asyncio.gather(*(each.delivered() for each in (first, *rest)))
        await first.leave()
        await until(lambda: mesh.generations)
        gate.open()
        answers = [await each.ended() for each in rest]
        assert {len(text(each).split()) for each in answers} == {60}
        assert {text(each) for each in answers} == {text(answers[0])}
        assert mesh.generations == 2
        assert mesh.cached(names.METRIC_CACHE_FLIGHTS, event="promoted") == 1
        assert sorted(bool(receipt(each).cost_micro_usd) for each in answers) == [False] * 3 + [True]
        await mesh.mesh.settled()


async def test_a_follower_is_never_given_two_answers_mixed(
    redis_url: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that answers otherwise the second time: what was delivered of the first can have no rest."""
    monkeypatch.setattr("services.inference.server.ScriptedEngine", DatedEngine)
    request = gate.held(f"[[echo={dated(60)}]]", after=10, max_tokens=100)
    async with twice(redis_url) as mesh:
        first, *rest = await led(mesh, request, followers=3)
        await asyncio.gather(*(each.delivered() for each in rest))
        await first.leave()
        endings = [await each.ended() for each in rest]
        assert all(isinstance(each, TokenwayError) and each.reason is Reason.STREAM_BROKEN for each in endings), endings
        assert [len(set(text(each.got).split())) for each in rest] == [1] * 3
        await mesh.mesh.settled()


async def test_a_follower_that_leaves_or_runs_out_of_time_ends_itself_alone(redis_url: str, gate: Gate) -> None:
    request = gate.held()
    async with twice(redis_url) as mesh:
        first, leaving, *rest = await led(mesh, request)
        hurried = Asking(mesh.clients[1], request, seconds=0.5)
        await leaving.leave()
        late = await hurried.ended()
        gate.open()
        assert isinstance(late, TokenwayError)
        assert late.reason is Reason.OUT_OF_TIME
        assert {text(await each.ended()) for each in rest} == {text(await first.ended())}
        assert mesh.generations == 1


async def test_a_leader_that_runs_out_of_time_does_not_end_its_followers(redis_url: str, gate: Gate) -> None:
    request = gate.held("[[tokens=60]]", after=15)
    async with twice(redis_url) as mesh:
        first = Asking(mesh.clients[0], request, seconds=2)
        await first.delivered()
        rest = asking(mesh, request, count=4)
        assert isinstance(await first.ended(), TokenwayError)
        await until(lambda: mesh.generations)
        gate.open()
        answers = [await each.ended() for each in rest]
        assert {len(text(each).split()) for each in answers} == {60}
        assert mesh.generations == 2


async def test_when_every_generation_fails_nobody_hangs(redis_url: str, gate: Gate) -> None:
    async with twice(redis_url) as mesh:
        asked = await led(mesh, gate.held("[[tokens=30]] [[fault:cut_after=10]]", after=5), followers=2)
        gate.open()
        endings = [await each.ended() for each in asked]
        assert all(isinstance(each, TokenwayError) and each.reason is Reason.STREAM_BROKEN for each in endings), endings
        await mesh.mesh.settled()


@pytest.mark.parametrize("broken", [0, 15], ids=["before the first token", "in mid-answer"])
async def test_when_the_leader_fails_of_itself_the_others_try_at_once_and_not_one_after_the_other(
    redis_url: str, gate: Gate, broken: int
) -> None:
    async with twice(redis_url) as mesh:
        asked = await led(mesh, gate.held(f"[[tokens=60]] [[fault:cut_after={broken}]]"))
        gate.open()
        endings = [await each.ended() for each in asked]
        assert all(isinstance(each, TokenwayError) for each in endings), endings
        assert not mesh.cached(names.METRIC_CACHE_FLIGHTS, event="promoted")
        await mesh.mesh.settled()


def poor(dollars: str) -> dict[str, Any]:
    return {"organisations": organisations(limit(dollars))}


async def test_a_spent_budget_follows_and_one_that_would_have_to_pay_passes_the_lead_on(
    redis_url: str, gate: Gate
) -> None:
    """Money for one answer: the leader holds it; when it leaves nobody else can have one."""
    async with twice(redis_url, **poor("0.0006")) as mesh:
        first, *rest = await led(mesh, gate.held(max_tokens=40))
        gate.open()
        answers = [await each.ended() for each in (first, *rest)]
        assert {text(each) for each in answers} == {text(answers[0])}, "followers cost nothing"
        assert mesh.generations == 1


async def test_a_follower_whose_budget_refuses_the_lead_passes_it_on_to_the_next(redis_url: str, gate: Gate) -> None:
    poor_limit = schema.Limit(scope="key", subject="poor", window="hour", limit_usd=Decimal("0.000001"))
    acme, other = organisations(limit("100"), poor_limit)
    poor_key = schema.Key(id="poor", sha256=sha256_of("tw_poor"))
    given = (acme.model_copy(update={"keys": (*acme.keys, poor_key)}), other)
    request = gate.held("[[tokens=60]]", max_tokens=100)
    async with twice(redis_url, organisations=given) as mesh:
        async with connected(RouterAddress(mesh.mesh.address, "tw_poor")) as client:
            (first,) = await led(mesh, request, followers=0)
            poor = Asking(client, request)
            await followed(mesh, 1)
            # At the same replica, where they are woken in the order in which they came.
            rest = [Asking(mesh.clients[0], request) for _ in range(2)]
            await followed(mesh, 3)
            await first.leave()
            refused = await poor.ended()
            gate.open()
            answers = [await each.ended() for each in rest]
        assert isinstance(refused, TokenwayError)
        assert refused.reason is Reason.BUDGET_EXCEEDED
        assert {len(text(each).split()) for each in answers} == {60}
        assert sorted(bool(receipt(each).cost_micro_usd) for each in answers) == [False, True]
        assert mesh.generations == 2
        await mesh.mesh.settled()


@pytest.mark.parametrize("action", ["redact", "block"])
async def test_each_has_its_own_guard_and_what_it_does_to_the_leader_does_not_end_the_others(
    redis_url: str, gate: Gate, action: Any
) -> None:
    guarded, other = organisations(limit("100"))
    guards = schema.Guards(output=schema.GuardKinds(email=action))
    request = gate.held("[[echo=write to ann@example.com today and tomorrow]]")
    async with twice(redis_url, organisations=(guarded.model_copy(update={"guards": guards}), other)) as mesh:
        asked = await led(mesh, request)
        gate.open()
        answers = [await each.ended() for each in asked]
        assert not any("ann@" in text(each) for each in answers)
        if action == "redact":
            assert len({text(each) for each in answers}) == 1
            assert mesh.generations == 1
        else:
            reasons = {each[-1].finished.finish_reason for each in answers}
            assert reasons == {generation_pb2.FINISH_REASON_CONTENT_FILTER}
        assert verdicts([await events(mesh.clients[1], request)]) == [MISS], "guarded answers are not stored"


def administered() -> dict[str, Any]:
    acme, other = organisations(limit("100"))
    return {"organisations": (with_admin(acme, ADMIN_KEY), other)}


async def invalidated(mesh: Twice, **what: Any) -> None:
    async with administering(RouterAddress(mesh.mesh.address, ADMIN_KEY)) as admin:
        await admin.invalidate_cache(admin_pb2.InvalidateCacheRequest(**what))


async def test_who_asks_after_an_invalidation_gets_no_answer_that_was_begun_before_it(
    redis_url: str, gate: Gate
) -> None:
    tagged = gate.held()
    tagged.labels["doc"] = "1"
    async with twice(redis_url, **administered()) as mesh:
        early = await led(mesh, tagged, followers=2)
        await invalidated(mesh, tag="doc=1")
        late = asking(mesh, tagged, count=3)
        await followed(mesh, 4)
        gate.open()
        answers = [await each.ended() for each in (*early, *late)]
        assert verdicts(answers[:3]) == verdicts(answers[3:]) == [MISS, SHARED, SHARED]
        assert mesh.generations == 2
        first = receipt(next(each for each in answers[3:] if each[0].started.cache_verdict == MISS)).request_id
        hit = receipt(await events(mesh.clients[0], tagged)).cached
        assert hit.source_request_id == first, "the one that was begun before is not stored"


async def test_who_refreshes_after_an_invalidation_has_the_answer_stored(redis_url: str) -> None:
    anew = question("[[tokens=5]]")
    anew.cache.mode = router_pb2.CacheControl.MODE_REFRESH
    async with twice(redis_url, **administered()) as mesh:
        await invalidated(mesh, all=True)
        await events(mesh.clients[0], anew)
        assert verdicts([await events(mesh.clients[1], question("[[tokens=5]]"))]) == [router_pb2.CACHE_VERDICT_HIT]


async def test_without_the_policy_everybody_generates(redis_url: str, gate: Gate) -> None:
    alone, other = organisations(limit("100"))
    policy = schema.CachePolicy(single_flight=False)
    async with twice(redis_url, organisations=(alone.model_copy(update={"cache": policy}), other)) as mesh:
        asked = asking(mesh, gate.held(), count=4)
        await generating(mesh, 4)
        gate.open()
        assert verdicts([await each.ended() for each in asked]) == [MISS] * 4


async def test_questions_that_differ_or_are_another_organisations_are_not_shared(redis_url: str, gate: Gate) -> None:
    async with twice(redis_url) as mesh, connected(RouterAddress(mesh.mesh.address, OTHER_KEY)) as other:
        asked = [
            Asking(mesh.clients[0], gate.held()),
            Asking(other, gate.held()),
            Asking(mesh.clients[1], gate.held("[[tokens=41]]")),
        ]
        await generating(mesh, 3)
        gate.open()
        assert verdicts([await each.ended() for each in asked]) == [MISS] * 3


async def test_every_follower_links_to_the_one_that_leads(redis_url: str, gate: Gate) -> None:
    async with twice(redis_url) as mesh:
        asked = await led(mesh, gate.held())
        gate.open()
        for each in asked:
            await each.ended()
        spans = [each for each in mesh.mesh.recorded.spans() if names.CACHE_FLIGHT in (each.attributes or {})]
    (leads,) = [each for each in spans if (each.attributes or {})[names.CACHE_FLIGHT] == "led"]
    follow = [each for each in spans if each is not leads]
    assert len(follow) == 4
    assert leads.context is not None
    assert {link.context.span_id for each in follow for link in each.links} == {leads.context.span_id}
    assert {(each.attributes or {})[names.RPC_RESPONSE_STATUS_CODE] for each in spans} == {"OK"}


async def test_how_the_only_one_to_ask_ends_its_look_up(redis_url: str) -> None:
    async with twice(redis_url) as mesh:
        await events(mesh.clients[0], question("whole"))
        whole = [(each.attributes or {})[names.RPC_RESPONSE_STATUS_CODE] for each in look_ups(mesh)]
        await ending(mesh.clients[0], question("[[tokens=9]]", max_tokens=4))
        cut = [each.status.status_code.name for each in look_ups(mesh)]
    assert whole == ["OK", "OK"], "its client's and its server's"
    assert set(cut) == {"UNSET"}, "to leave is no error"


def look_ups(mesh: Twice) -> list[Any]:
    return [each for each in mesh.mesh.recorded.spans() if each.name == LOOKUP]
