"""A streamed answer as one message."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tokenway.common.v1.generation_pb2 import Delta, ToolCall
from tokenway.router.v1 import router_pb2 as pb


async def collected(events: AsyncIterator[pb.StreamGenerateResponse]) -> pb.GenerateResponse:
    """All events of a whole stream. Deltas are made to be merged: the merged one is the answer."""
    response, whole = pb.GenerateResponse(), Delta()
    async for event in events:
        match event.WhichOneof("event"):
            case "started":
                response.started.CopyFrom(event.started)
            case "delta":
                whole.MergeFrom(event.delta)
            case "finished":
                response.finished.CopyFrom(event.finished)
    response.text = "".join(whole.text)
    response.reasoning = "".join(whole.reasoning)
    response.logprobs.extend(whole.logprobs)
    response.tool_calls.extend(_tool_calls(whole))
    return response


def _tool_calls(whole: Delta) -> list[ToolCall]:
    calls: dict[int, ToolCall] = {}
    for piece in whole.tool_calls:
        call = calls.setdefault(piece.index, ToolCall())
        call.id, call.name = call.id or piece.id, call.name or piece.name
        call.arguments_json += piece.arguments_json
    return [calls[index] for index in sorted(calls)]
