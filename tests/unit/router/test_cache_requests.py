"""What the router tells the cache of a request: whose question it is, and how long its answer is kept."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal

import pytest

from libs.clock import SystemClock
from libs.money import Usage, UsageSource
from libs.rpc.call import Call
from libs.rpc.routes import Route, routes
from libs.rpc.server import RpcServer
from libs.testing.runtime import recorded_runtime
from services.router.adapters.cache_client import CacheClient
from services.router.domain.answer import FinishReason
from services.router.domain.ask import CacheTier
from services.router.domain.ports import AnswerEnd, CachePolicy, CacheQuestion
from services.router.domain.principal import Principal
from tests.unit.router.asks import ask, model
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import principal_pb2

HOUR = 3_600
ANN = Principal(key_id="ci", organisation="acme", user="ann", team="web")
_OTHERS = frozenset({"Invalidate", "ReportBadHit", "Explain", "GetStats"})


class Listening:
    """A CacheService that keeps what it was asked."""

    def __init__(self) -> None:
        self.lookups: list[pb.LookupRequest] = []
        self.headers: list[pb.FillHeader] = []

    async def Lookup(self, request: pb.LookupRequest, call: Call) -> AsyncIterator[pb.LookupResponse]:
        self.lookups.append(request)
        yield pb.LookupResponse(found=pb.Found(verdict=pb.VERDICT_MISS))

    async def Fill(self, requests: AsyncIterator[pb.FillRequest], call: Call) -> pb.FillResponse:
        self.headers += [each.header async for each in requests if each.HasField("header")]
        return pb.FillResponse(stored=True)

    def routes(self) -> tuple[Route, ...]:
        return routes(pb.DESCRIPTOR, "CacheService", self, not_served=_OTHERS)


@asynccontextmanager
async def client() -> AsyncIterator[tuple[CacheClient, Listening]]:
    runtime, listening = recorded_runtime(service="router").runtime, Listening()
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        server = RpcServer(
            name="cache",
            listen=f"unix:{folder}/cache.sock",
            routes=listening.routes(),
            runtime=runtime,
            drain_seconds=0,
        )
        async with server:
            rpc = runtime.client(server.address, service="cache")
            yield CacheClient(rpc, lookup_seconds=5, semantic_seconds=5, clock=SystemClock()), listening
            await rpc.close()


async def answer() -> AsyncGenerator[AnswerEnd]:
    yield AnswerEnd(FinishReason.STOP, Usage(1, 0, 1, UsageSource.ENGINE), for_followers_alone=False)


async def told(question: CacheQuestion) -> tuple[pb.LookupRequest, pb.FillHeader]:
    """With its look-up, and with its fill."""
    async with client() as (cache, listening):
        async with cache.lookup(question, single_flight=True, refresh=False) as looking:
            await looking.found()
        await cache.fill(question, answer(), request_id="r", lead_token="lead", as_of=7, live=False)
    (lookup,), (header,) = listening.lookups, listening.headers
    return lookup, header


@pytest.mark.parametrize(
    ("asked", "kept"), [(None, HOUR), (1.5, 1.5), (HOUR, HOUR), (2 * HOUR, HOUR)], ids=["unsaid", "less", "as", "more"]
)
async def test_an_answer_is_kept_as_long_as_its_request_asks_and_no_longer_than_its_organisation_allows(
    asked: float | None, kept: float
) -> None:
    question = CacheQuestion(
        replace(ask(), cache_ttl_seconds=asked), model("small"), ANN, CachePolicy(ttl_seconds=HOUR)
    )
    _, header = await told(question)
    assert header.ttl.ToNanoseconds() / 1e9 == kept


async def test_the_cache_is_told_all_that_tells_one_question_from_another() -> None:
    policy = CachePolicy(scope="team", reuse_sampled=True, tier=CacheTier.BALANCED)
    asked = replace(ask(), labels={"doc": "7", "a": "b"})
    lookup, header = await told(CacheQuestion(asked, model("small", revision="9"), ANN, policy))
    assert lookup.question == header.question
    assert header.question.principal == principal_pb2.Principal(
        key_id="ci", user="ann", team="web", organisation="acme", role=principal_pb2.KEY_ROLE_CALLER
    )
    assert header.question.scope == pb.CACHE_SCOPE_TEAM
    assert (header.question.model, header.question.model_revision) == ("small", "9")
    assert header.question.reuse_sampled
    assert list(lookup.tags) == list(header.tags) == ["a=b", "doc=7"]
    assert lookup.tier == header.tier == CacheTier.BALANCED
    assert (header.request_id, header.lead_token, header.as_of) == ("r", "lead", 7)


@pytest.mark.parametrize(("scope", "same"), [("organisation", True), ("user", False)])
async def test_who_may_share_an_answer_asks_the_same_whoever_it_is(
    scope: Literal["organisation", "user"], same: bool
) -> None:
    """So that a hundred who ask at once wait for the one that asks the cache."""
    policy = CachePolicy(scope=scope)
    async with client() as (cache, _):
        ann, bob = (
            cache.lookup(CacheQuestion(ask(), model("small"), each, policy), single_flight=True, refresh=False)
            for each in (ANN, replace(ANN, key_id="other", user="bob"))
        )
    assert (ann._question == bob._question) is same
