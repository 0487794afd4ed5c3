"""An answer as it comes."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Self

from libs.errors import Reason, TokenwayError
from libs.rpc.call import SOFT_LIMITS_KEY
from libs.rpc.client import Stream as Messages
from libs.rpc.collect import Collected
from tokenway.client.answer import Answer
from tokenway.client.errors import call_errors
from tokenway.common.v1.money_pb2 import Receipt
from tokenway.router.v1.router_pb2 import StreamGenerateResponse


class Stream:
    """Iterated once, gives pieces of text as they come. Every failure is a CallError, also a stream that breaks off.

    `async with` cancels what still runs when the block is left, however it is. Without it a loop that is left early
    cancels once nothing refers to the stream any more.
    """

    def __init__(self, opening: AbstractAsyncContextManager[Messages[StreamGenerateResponse]]) -> None:
        self._opening = opening
        self._open = AsyncExitStack()
        self._opened: Messages[StreamGenerateResponse] | None = None
        self._soft_limits = ""
        self._collected = Collected()
        self._finished = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, traceback)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while True:
            event = await self.event()
            if event is None:
                raise StopAsyncIteration
            if text := "".join(event.delta.text):
                return text

    async def event(self) -> StreamGenerateResponse | None:
        """The next event as the proto has it, for more than text; None after the last."""
        with call_errors():
            event = await self._next()
        if event is not None:
            self._collected.take(event)
            self._finished = event.HasField("finished")
        return event

    @property
    def answer(self) -> Answer:
        """All of it, once the loop has ended by itself. RuntimeError before: what has come so far is not an answer."""
        if not self._finished:
            raise RuntimeError("the answer is not whole: read the stream to its end first")
        return Answer(self._collected.response())

    @property
    def receipt(self) -> Receipt:
        """Of the answer, once the loop has ended by itself."""
        return self.answer.receipt

    @property
    def soft_limits(self) -> str:
        """The soft limits that stand passed, once the loop has ended by itself: `team:ops requests/minute 61/60`.

        Money is in micro-dollars. Empty where there are none.
        """
        return self._soft_limits

    async def _next(self) -> StreamGenerateResponse | None:
        if self._opened is None:
            self._opened = await self._open.enter_async_context(self._opening)
        event = await anext(aiter(self._opened), None)
        if event is None:
            self._soft_limits = str((await self._opened.trailers()).get(SOFT_LIMITS_KEY, ""))
            await self._open.aclose()
            if not self._finished:
                raise TokenwayError(Reason.STREAM_BROKEN, "the answer broke off: its stream ended without a last event")
        return event
