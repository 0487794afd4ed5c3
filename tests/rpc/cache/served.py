"""A real cache server on a unix socket, and what a test says to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration

from libs.rpc.call import current_request_id
from libs.rpc.client import Client
from libs.rpc.method import Method, method
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from libs.testing.encoder import WordCounter
from libs.testing.labels import InMemoryLabels
from libs.testing.runtime import Recorded, recorded_runtime
from libs.testing.served_hits import InMemoryServedHits
from libs.testing.vector_index import InMemoryIndex
from services.cache.config import CacheConfig, TierPolicy
from services.cache.domain.model import Tier
from services.cache.domain.ports import AnswerStore, Encoder, VectorIndex
from services.cache.server import serve
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import generation_pb2, money_pb2, principal_pb2

MAX_ANSWER_BYTES = 2_000
USAGE = money_pb2.Usage(input_tokens=5, cached_input_tokens=1, output_tokens=3, source=money_pb2.USAGE_SOURCE_ENGINE)
STOP = pb.FillRequest(stored=pb.Stored(finish_reason=generation_pb2.FINISH_REASON_STOP, usage=USAGE))


def _method(name: str, request: type[Any], response: type[Any]) -> Method[Any, Any]:
    return method(pb.DESCRIPTOR, "CacheService", name, request, response)


LOOKUP = _method("Lookup", pb.LookupRequest, pb.LookupResponse)
FILL = _method("Fill", pb.FillRequest, pb.FillResponse)
INVALIDATE = _method("Invalidate", pb.InvalidateRequest, pb.InvalidateResponse)
EXPLAIN = _method("Explain", pb.ExplainRequest, pb.ExplainResponse)
GET_STATS = _method("GetStats", pb.GetStatsRequest, pb.GetStatsResponse)
REPORT_BAD_HIT = _method("ReportBadHit", pb.ReportBadHitRequest, pb.ReportBadHitResponse)


def question(
    prompt: str = "Hello", *, organisation: str = "acme", temperature: float = 0, **fields: Any
) -> pb.Question:
    """One that may be cached."""
    given: dict[str, Any] = {"model": "small", "model_revision": "1", **fields}
    return pb.Question(
        principal=principal_pb2.Principal(organisation=organisation, key_id="ci"),
        input=generation_pb2.GenerationInput(prompt=prompt, sampling=generation_pb2.Sampling(temperature=temperature)),
        **given,
    )


def header(
    asks: pb.Question | None = None,
    *,
    ttl_seconds: float = 60,
    tags: Sequence[str] = (),
    tier: int = 0,
    as_of: int = 0,
) -> pb.FillRequest:
    """To store an answer for a minute."""
    ttl = Duration()
    ttl.FromMilliseconds(int(ttl_seconds * 1000))
    given = pb.FillHeader(question=asks or question(), request_id="req-1", ttl=ttl, tags=tags, tier=tier, as_of=as_of)
    return pb.FillRequest(header=given)


def delta(*text: str) -> pb.FillRequest:
    """Pieces of a token each."""
    return pb.FillRequest(delta=generation_pb2.Delta(text=text, token_counts=[1] * len(text)))


@dataclass(frozen=True, slots=True)
class Served:
    """A client of the server, and what the server is made of."""

    client: Client
    recorded: Recorded
    clock: ManualClock
    # As long as the test gave no store of its own.
    answers: InMemoryAnswers
    labels: InMemoryLabels

    async def lookup(
        self, asks: pb.Question | None = None, *, tier: int = 0, request_id: str = ""
    ) -> list[pb.LookupResponse]:
        """All events."""
        asking = current_request_id.set(request_id)
        try:
            async with self.client.stream(LOOKUP, pb.LookupRequest(question=asks or question(), tier=tier)) as stream:
                return [event async for event in stream]
        finally:
            current_request_id.reset(asking)

    async def verdict(self, asks: pb.Question | None = None) -> int:
        """The first event's."""
        events = await self.lookup(asks)
        return events[0].found.verdict

    async def as_of(self, asks: pb.Question | None = None) -> int:
        """What a lookup that finds nothing says of drops, for its fill."""
        events = await self.lookup(asks)
        return events[0].found.as_of

    async def fill(self, *events: pb.FillRequest) -> pb.FillResponse:
        """The events, and the end of the stream."""
        response = await self.client.unary(FILL, _streamed(events))
        assert isinstance(response, pb.FillResponse)
        return response

    async def unary(self, rpc: Method[Any, Any], request: Any) -> Any:
        return await self.client.unary(rpc, request)


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    redis_url: str = "",
    redis_timeout_seconds: float = 60,
    answers: AnswerStore | None = None,
    semantic: bool = False,
    tier: Tier = Tier.BALANCED,
    index: VectorIndex | None = None,
    encoder: Encoder | None = None,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
) -> AsyncIterator[Served]:
    """A cache over answers in memory, over those that are given, or over a Redis.

    Its semantic tier has an encoder that counts words, and over a Redis an index that follows it, unless others are
    given. A machine that stands still makes Redis no outage.
    """
    clock, recorded = ManualClock(), recorded_runtime(service="cache")
    if index is None and not redis_url:
        index = InMemoryIndex(max_entries=100, clock=clock)
    labels = InMemoryLabels()
    in_memory = InMemoryAnswers(clock=clock, index=index)
    runtime = replace(recorded.runtime, clock=clock)
    config = CacheConfig(
        listen=f"unix:{folder}/cache.sock",
        metrics_listen="127.0.0.1:0",
        drain_seconds=1,
        redis_url=redis_url,
        redis_timeout_seconds=redis_timeout_seconds,
        max_answer_bytes=max_answer_bytes,
        semantic_seconds=60,
        tiers={"acme": TierPolicy(tier, 0.05)} if semantic else {},
    )
    stores: dict[str, Any] = (
        {} if redis_url else {"answers": answers or in_memory, "served": InMemoryServedHits(), "labels": labels}
    )
    async with serve(config, runtime=runtime, encoder=encoder or WordCounter(), index=index, **stores) as server:
        client = runtime.client(server.address, service="cache")
        try:
            yield Served(client, recorded, clock, in_memory, labels)
        finally:
            await client.close()


async def _streamed(events: Iterable[pb.FillRequest]) -> AsyncIterator[pb.FillRequest]:
    for event in events:
        yield event
