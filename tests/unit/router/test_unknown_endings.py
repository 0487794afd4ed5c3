"""A reason to finish that a newer service has and this one does not know is never passed off as a whole answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext

from libs.clock import SystemClock
from libs.errors import Reason, TokenwayError
from libs.rpc.client import Stream
from services.router.adapters.cache_client import CacheClient
from services.router.adapters.inference_client import InferenceClient
from services.router.adapters.replicas import Replicas
from services.router.domain.answer import CacheVerdict
from services.router.domain.ports import Attempt, CachePolicy, CacheQuestion
from tests.unit.router.asks import PRINCIPAL, TIERS, ask
from tokenway.cache.v1 import cache_pb2
from tokenway.common.v1 import generation_pb2
from tokenway.inference.v1 import inference_pb2

OF_A_NEWER_VERSION: Any = 99


class Streaming:
    """A client whose streams hold these messages."""

    def __init__(self, *messages: Any) -> None:
        self._messages = messages

    @asynccontextmanager
    async def stream(self, *_: object, **__: object) -> AsyncIterator[Stream[Any]]:
        yield Stream(messages=each_of(self._messages), span=NonRecordingSpan(SpanContext(0, 0, is_remote=False)))

    async def close(self) -> None: ...


async def each_of(messages: Sequence[Any]) -> AsyncIterator[Any]:
    for each in messages:
        yield each


@pytest.mark.parametrize("reason", [generation_pb2.FINISH_REASON_UNSPECIFIED, OF_A_NEWER_VERSION])
async def test_an_engines_unknown_ending_breaks_the_answer(reason: Any) -> None:
    client = Streaming(inference_pb2.GenerateResponse(finished=inference_pb2.Finished(finish_reason=reason)))
    replicas = Replicas({TIERS[0].name: ["unix:/model"]}, dial=lambda *_: client, probe=lambda *_: client)  # type: ignore[arg-type]
    await replicas.resolve()
    async with InferenceClient(replicas).generate(Attempt("request", ask(), TIERS[0], 1)) as events:
        with pytest.raises(TokenwayError) as caught:
            await anext(events)
    assert caught.value.reason is Reason.STREAM_BROKEN


async def test_a_stored_answer_with_an_unknown_ending_is_no_hit() -> None:
    client = Streaming(
        cache_pb2.LookupResponse(found=cache_pb2.Found(verdict=cache_pb2.VERDICT_HIT)),
        cache_pb2.LookupResponse(stored=cache_pb2.Stored(finish_reason=OF_A_NEWER_VERSION)),
    )
    cache = CacheClient(client, lookup_seconds=1, semantic_seconds=1, clock=SystemClock())  # type: ignore[arg-type]
    question = CacheQuestion(ask(), TIERS[0], PRINCIPAL, CachePolicy())
    async with cache.lookup(question, single_flight=False, refresh=False) as looking:
        assert await looking.found() is CacheVerdict.UNAVAILABLE
