"""Streams that do not end as they should, and trying again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from opentelemetry.trace import INVALID_SPAN

from libs.errors import Reason, TokenwayError
from libs.rpc.client import Stream as Messages
from tokenway.client import CallError, Stream, again
from tokenway.common.v1.generation_pb2 import Delta, ToolCall, ToolCallDelta
from tokenway.router.v1.router_pb2 import Finished, StreamGenerateResponse


@asynccontextmanager
async def opening(*events: StreamGenerateResponse) -> AsyncIterator[Messages[StreamGenerateResponse]]:
    async def each() -> AsyncIterator[StreamGenerateResponse]:
        for event in events:
            yield event

    yield Messages(messages=each(), span=INVALID_SPAN)


async def test_a_stream_without_its_last_event_is_no_answer() -> None:
    stream = Stream(opening(StreamGenerateResponse(delta=Delta(text=["cut"]))))
    assert await anext(stream) == "cut"
    with pytest.raises(CallError) as caught:
        await anext(stream)
    assert caught.value.reason is Reason.STREAM_BROKEN
    with pytest.raises(RuntimeError):
        _ = stream.answer


async def test_pieces_of_tool_calls_are_put_together() -> None:
    pieces = [
        ToolCallDelta(index=0, id="1", name="weather", arguments_json='{"city":'),
        ToolCallDelta(index=0, arguments_json='"Paris"}'),
    ]
    events = [StreamGenerateResponse(delta=Delta(tool_calls=[each])) for each in pieces]
    async with Stream(opening(*events, StreamGenerateResponse(finished=Finished()))) as stream:
        assert [text async for text in stream] == []
    assert stream.answer.tool_calls == [ToolCall(id="1", name="weather", arguments_json='{"city":"Paris"}')]


class Failing:
    """Fails with these errors, one an attempt, then answers."""

    def __init__(self, *retry_after_seconds: float | None) -> None:
        self._left = list(retry_after_seconds)
        self.slept: list[float] = []

    async def attempt(self) -> str:
        if self._left:
            raise TokenwayError(Reason.QUEUE_FULL, "full", retry_after_seconds=self._left.pop(0))
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_it_is_tried_again_when_the_mesh_says() -> None:
    failing = Failing(2.0, 3.0)
    assert await again(failing.attempt, sleep=failing.sleep) == "answer"
    assert failing.slept == [2.0, 3.0]


@pytest.mark.parametrize(
    ("failures", "slept"), [((None,), []), ((31.0,), []), ((1.0, 1.0, 1.0), [1.0, 1.0])], ids=["never", "late", "often"]
)
async def test_it_is_not_tried_again_in_vain(failures: tuple[float | None, ...], slept: list[float]) -> None:
    failing = Failing(*failures)
    with pytest.raises(TokenwayError):
        await again(failing.attempt, sleep=failing.sleep)
    assert failing.slept == slept
