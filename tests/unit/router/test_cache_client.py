"""The router's side of a look-up, against a real server that answers as it is told."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace

import grpc
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from libs.clock import SystemClock
from libs.rpc.call import Call
from libs.rpc.routes import Route, routes
from libs.rpc.server import RpcServer
from libs.telemetry import names
from libs.testing.runtime import Recorded, recorded_runtime
from services.router.adapters.cache_client import CacheClient
from services.router.adapters.cache_lookup import _Messages
from services.router.domain.answer import CacheKind, CacheVerdict
from services.router.domain.ask import CacheTier
from services.router.domain.ports import CachedAnswer, CachePolicy, CacheQuestion, Lead, Looked
from tests.unit.router.asks import PRINCIPAL, TIERS, ask
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import generation_pb2, money_pb2

QUESTION = CacheQuestion(ask(), TIERS[0], PRINCIPAL, CachePolicy())
_OTHERS = frozenset({"Fill", "Invalidate", "ReportBadHit", "Explain", "GetStats"})
PENDING = pb.LookupResponse(found=pb.Found(verdict=pb.VERDICT_MISS, semantic_pending=True))
MISS = pb.LookupResponse(found=pb.Found(verdict=pb.VERDICT_MISS))
LIKE = pb.LookupResponse(
    found=pb.Found(
        verdict=pb.VERDICT_HIT,
        origin=money_pb2.CachedFrom(kind=money_pb2.CACHE_KIND_SEMANTIC, similarity=0.97),
        answer=generation_pb2.Delta(text=["Hi"], token_counts=[1]),
        stored=pb.Stored(finish_reason=generation_pb2.FINISH_REASON_STOP),
    )
)
ENDLESS = pb.LookupResponse(found=pb.Found(verdict=pb.VERDICT_HIT, answer=LIKE.found.answer))
LEAD = pb.LookupResponse(found=pb.Found(verdict=pb.VERDICT_LEAD, lead_token="first", semantic_pending=True))
LEAD_BY_QUESTION = pb.LookupResponse(found=pb.Found(verdict=pb.VERDICT_LEAD, lead_token="second"))
PUBLISH = pb.LookupResponse(publish=pb.Publish())
Script = Sequence[pb.LookupResponse | asyncio.Event]


class Scripted:
    """A CacheService whose Lookup says what it is told, by tier, and waits at each event until it is set."""

    def __init__(self, scripts: Mapping[CacheTier, Script]) -> None:
        self._scripts = scripts

    async def Lookup(self, request: pb.LookupRequest, call: Call) -> AsyncIterator[pb.LookupResponse]:
        for each in self._scripts[CacheTier(request.tier)]:
            if isinstance(each, asyncio.Event):
                await each.wait()
            else:
                yield each

    def routes(self) -> tuple[Route, ...]:
        return routes(pb.DESCRIPTOR, "CacheService", self, not_served=_OTHERS)


@asynccontextmanager
async def client(
    *script: pb.LookupResponse | asyncio.Event,
    semantic_seconds: float = 5,
    lookup_seconds: float = 5,
    balanced: Script = (),
) -> AsyncIterator[tuple[CacheClient, Recorded]]:
    recorded = recorded_runtime(service="router")
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        server = RpcServer(
            name="cache",
            listen=f"unix:{folder}/cache.sock",
            routes=Scripted({CacheTier.EXACT: script, CacheTier.BALANCED: balanced}).routes(),
            runtime=replace(recorded.runtime),
            drain_seconds=0,
        )
        async with server:
            rpc = recorded.runtime.client(server.address, service="cache")
            cache = CacheClient(
                rpc, lookup_seconds=lookup_seconds, semantic_seconds=semantic_seconds, clock=SystemClock()
            )
            yield cache, recorded
            await rpc.close()


async def found(cache: CacheClient) -> Looked:
    async with cache.lookup(QUESTION, single_flight=False, refresh=False) as looking:
        return await looking.found()


def of_the_call(recorded: Recorded) -> ReadableSpan:
    (span,) = [each for each in recorded.spans() if each.kind is SpanKind.CLIENT]
    return span


async def test_a_second_verdict_of_the_semantic_tier_is_waited_for() -> None:
    async with client(PENDING, LIKE) as (cache, _):
        answer = await found(cache)
    assert isinstance(answer, CachedAnswer)
    assert (answer.origin.kind, answer.origin.similarity) == (CacheKind.SEMANTIC, 0.97)
    assert [each.tokens for each in answer.deltas] == [1]


async def test_a_semantic_tier_that_finds_nothing_leaves_a_miss_and_a_call_that_ended_well() -> None:
    async with client(PENDING, MISS) as (cache, recorded):
        assert await found(cache) is CacheVerdict.MISS
        span = of_the_call(recorded)
    assert (span.attributes or {})[names.RPC_RESPONSE_STATUS_CODE] == grpc.StatusCode.OK.name


async def test_a_semantic_tier_that_is_slow_is_a_miss_and_its_call_is_left_on_purpose() -> None:
    never = asyncio.Event()
    async with (
        asyncio.timeout(5),
        client(PENDING, never, semantic_seconds=0.01) as (cache, recorded),
        cache.lookup(QUESTION, single_flight=False, refresh=False) as looking,
    ):
        assert await looking.found() is CacheVerdict.MISS
        span = of_the_call(recorded)  # at once: an answer that it found now would count as a hit
    assert (span.attributes or {})[names.RPC_RESPONSE_STATUS_CODE] == grpc.StatusCode.CANCELLED.name
    assert span.status.status_code is StatusCode.UNSET


async def test_one_that_leads_does_not_lose_the_lead_to_an_answer_that_the_semantic_tier_finds_too_late() -> None:
    """Nobody has the answer then, and of those who follow one would be made to begin another."""
    late = asyncio.Event()
    by_question, near = (LEAD_BY_QUESTION, late, PUBLISH), (LEAD, late, LIKE)
    async with asyncio.timeout(5), client(*by_question, balanced=near, semantic_seconds=0.01) as (cache, _):
        question = replace(QUESTION, policy=CachePolicy(tier=CacheTier.BALANCED))
        async with cache.lookup(question, single_flight=True, refresh=False) as looking:
            assert await looking.found() == Lead("second")
            late.set()
            assert await looking.followed()


async def test_what_the_first_verdict_knew_of_invalidations_stands_until_another_knows_more() -> None:
    first, later = (pb.LookupResponse(found=pb.Found(verdict=pb.VERDICT_FOLLOW, as_of=each)) for each in (7, 8))
    alone, lead = (pb.LookupResponse(found=pb.Found(verdict=each)) for each in (pb.VERDICT_MISS, pb.VERDICT_LEAD))
    lead.found.as_of = 9
    known = []
    async with (
        client(first, alone, later, lead) as (cache, _),
        cache.lookup(QUESTION, single_flight=True, refresh=False) as looking,
    ):
        await looking.found()
        known.append(looking.as_of)
        async with aclosing(looking.shared()) as shared:
            for _ in (alone, later, lead):
                await anext(shared)
                known.append(looking.as_of)
    assert known == [7, 7, 8, 9]


async def test_time_in_which_the_router_itself_was_busy_is_not_the_caches() -> None:
    ready = asyncio.Event()
    async with asyncio.timeout(5), client(PENDING, ready, LIKE, semantic_seconds=0.2) as (cache, _):
        looking_up = asyncio.create_task(found(cache))
        await asyncio.sleep(0.05)
        ready.set()
        time.sleep(0.3)  # noqa: ASYNC251 # as a hundred other requests would keep the loop
        assert isinstance(await looking_up, CachedAnswer)


async def test_a_cache_that_ends_without_a_verdict_is_of_no_use_and_does_no_harm() -> None:
    async with client() as (cache, _):
        assert await found(cache) is CacheVerdict.UNAVAILABLE


async def test_a_hit_without_an_end_that_is_known_is_no_hit() -> None:
    async with client(ENDLESS) as (cache, _):
        assert await found(cache) is CacheVerdict.UNAVAILABLE


async def test_a_request_that_fails_while_it_looks_up_is_not_the_caches_failure() -> None:
    never = asyncio.Event()
    async with client(PENDING, never) as (cache, recorded):
        try:
            async with asyncio.timeout(5), asyncio.TaskGroup() as both:
                both.create_task(found(cache))
                both.create_task(failing())
        except* ZeroDivisionError:
            pass
        span = of_the_call(recorded)
    assert (span.attributes or {})[names.RPC_RESPONSE_STATUS_CODE] == grpc.StatusCode.CANCELLED.name


async def failing() -> None:
    await asyncio.sleep(0.05)
    raise ZeroDivisionError


async def test_where_the_cache_has_just_had_something_a_slow_verdict_is_waited_for() -> None:
    ready = asyncio.Event()
    ready.set()
    async with client(ready, LIKE, lookup_seconds=0.05) as (cache, _):
        assert isinstance(await found(cache), CachedAnswer)
        ready.clear()
        again = asyncio.create_task(found(cache))
        _, late = await asyncio.wait({again}, timeout=0.2)
        assert late == {again}
        ready.set()
        assert isinstance(await again, CachedAnswer)


async def test_a_hit_that_has_come_is_used_however_late_its_call_ends() -> None:
    never = asyncio.Event()
    async with asyncio.timeout(5), client(LIKE, never, lookup_seconds=0.05) as (cache, _):
        assert isinstance(await found(cache), CachedAnswer)


async def test_whoever_leaves_a_look_up_and_is_cancelled_meanwhile_goes_no_further() -> None:
    leaving, went_on = asyncio.Event(), False

    async def slow_to_end() -> AsyncGenerator[pb.LookupResponse]:
        try:
            await asyncio.Event().wait()
        finally:
            leaving.set()
            await asyncio.sleep(0)
        yield MISS

    async def leave() -> None:
        nonlocal went_on
        messages = _Messages(slow_to_end())
        with suppress(TimeoutError):
            await messages.within(0.001)
        await messages.aclose()
        went_on = True

    task = asyncio.create_task(leave())
    await leaving.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert not went_on


async def test_a_look_up_may_be_left_while_its_next_message_is_waited_for() -> None:
    never = asyncio.Event()
    async with asyncio.timeout(5), client(LEAD_BY_QUESTION, never) as (cache, _):
        async with cache.lookup(QUESTION, single_flight=True, refresh=False) as looking:
            assert isinstance(await looking.found(), Lead)
            watching = asyncio.create_task(looking.followed())
            await asyncio.sleep(0)
        await asyncio.wait({watching})
        assert watching.cancelled()


async def test_two_who_wait_for_the_same_message_both_get_it() -> None:
    """A leader that falls back to another model is left in the background, while it still hears of followers."""

    async def ended() -> AsyncGenerator[pb.LookupResponse]:
        await asyncio.sleep(0)
        yield MISS

    messages = _Messages(ended())
    for message in (MISS, None):
        both = await asyncio.gather(messages.within(5), messages.within(5))
        assert list(both) == [message, message]
