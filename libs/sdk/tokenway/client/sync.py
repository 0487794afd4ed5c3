"""The same client for programs without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from libs.errors import Reason
from tokenway.client.answer import Answer
from tokenway.client.client import LOCAL_ROUTER, Client
from tokenway.client.errors import CallError
from tokenway.client.question import Options, Question
from tokenway.client.stream import Stream
from tokenway.common.v1.model_pb2 import Model
from tokenway.common.v1.money_pb2 import Receipt
from tokenway.router.v1.router_pb2 import ExplainRouteResponse

Result = TypeVar("Result")
# How long a call may take to fail once its connection is gone.
_ENDING_SECONDS = 1.0


class SyncClient:
    """A `Client` whose calls block, from any thread. Ctrl-C in one cancels its request."""

    def __init__(
        self,
        address: str = LOCAL_ROUTER,
        *,
        key: str,
        tls: bool | None = None,
        ca_file: str | Path | None = None,
        timeout_seconds: float = 60,
    ) -> None:
        self._client = Client(address, key=key, tls=tls, ca_file=ca_file, timeout_seconds=timeout_seconds)
        self._loop = _Loop()

    def __repr__(self) -> str:
        return f"Sync{self._client!r}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, for good; calls in flight fail, and so does every later one."""
        if self._loop.runs:
            self._loop.run(self._client.close())
            self._loop.stop()

    def stream(self, question: Question, **options: Unpack[Options]) -> SyncStream:
        """The answer as it comes: `for text in client.stream("…")`."""
        return SyncStream(self._loop.run(self._stream(question, options)), self._loop)

    def generate(self, question: Question, **options: Unpack[Options]) -> Answer:
        """The whole answer."""
        return self._loop.run(self._client.generate(question, **options))

    def explain(self, question: Question, **options: Unpack[Options]) -> ExplainRouteResponse:
        """Which model the question would go to, with every model's verdict. Costs nothing."""
        return self._loop.run(self._client.explain(question, **options))

    def models(self) -> Sequence[Model]:
        """The models that the key may use, cheapest first."""
        return self._loop.run(self._client.models())

    async def _stream(self, question: Question, options: Options) -> Stream:
        # In the loop, where the connection has to be made.
        return self._client.stream(question, **options)


class SyncStream:
    """A `Stream` for `with` and `for`. Left early, it cancels its request."""

    def __init__(self, stream: Stream, loop: _Loop) -> None:
        self._stream = stream
        self._loop = loop

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.run(self._stream.__aexit__(kind, error, traceback))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        text = self._loop.run(self._next())
        if text is None:
            raise StopIteration
        return text

    @property
    def answer(self) -> Answer:
        """All of it, once the loop has ended by itself."""
        return self._stream.answer

    @property
    def receipt(self) -> Receipt:
        """Of the answer, once the loop has ended by itself."""
        return self._stream.receipt

    async def _next(self) -> str | None:
        return await anext(self._stream, None)


class _Loop:
    """An event loop in a thread of its own: the caller's thread may run one already, as notebooks do."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="tokenway-client", daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Not once it was stopped, nor in a process that was forked from its own."""
        return self._thread.is_alive()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What it gives. It runs in the caller's context, so that its spans are below the current one."""
        if not self.runs:
            work.close()
            raise CallError(
                Reason.CANCELLED, "this client was closed, or this process forked from its own: make another"
            )
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C, while it runs; else nothing
            raise

    def stop(self) -> None:
        """Ends the thread, once everybody who waits for it was told."""
        self.run(_others_ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _others_ended() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, late = await asyncio.wait(others, timeout=_ENDING_SECONDS)
        for each in late:
            each.cancel()
    await asyncio.get_running_loop().shutdown_asyncgens()
