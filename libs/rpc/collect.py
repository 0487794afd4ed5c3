"""A streamed answer as one message."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tokenway.common.v1.generation_pb2 import Delta, ToolCall
from tokenway.router.v1 import router_pb2 as pb


class Collected:
    """What has come of a stream. Deltas are made to be merged: the merged one is the answer."""

    def __init__(self) -> None:
        self._whole = Delta()
        self._ends = pb.GenerateResponse()

    def take(self, event: pb.StreamGenerateResponse) -> None:
        """The next event."""
        match event.WhichOneof("event"):
            case "started":
                self._ends.started.CopyFrom(event.started)
            case "delta":
                self._whole.MergeFrom(event.delta)
            case "finished":
                self._ends.finished.CopyFrom(event.finished)

    def response(self) -> pb.GenerateResponse:
        """All of it so far. Without `finished` it is not an answer."""
        response, whole = pb.GenerateResponse(), self._whole
        response.CopyFrom(self._ends)
        response.text = "".join(whole.text)
        response.reasoning = "".join(whole.reasoning)
        response.logprobs.extend(whole.logprobs)
        response.tool_calls.extend(_tool_calls(whole))
        return response


async def collected(events: AsyncIterator[pb.StreamGenerateResponse]) -> pb.GenerateResponse:
    """All events of a whole stream."""
    taken = Collected()
    async for event in events:
        taken.take(event)
    return taken.response()


def _tool_calls(whole: Delta) -> list[ToolCall]:
    calls: dict[int, ToolCall] = {}
    for piece in whole.tool_calls:
        call = calls.setdefault(piece.index, ToolCall())
        call.id, call.name = call.id or piece.id, call.name or piece.name
        call.arguments_json += piece.arguments_json
    return [calls[index] for index in sorted(calls)]
