"""The client, for programs that run an event loop and for notebooks, which do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from tokenway.client.answer import Answer
from tokenway.client.errors import call_errors
from tokenway.client.question import Options, Question, request_of
from tokenway.client.router import RouterClient, calling
from tokenway.client.rules import check_timeout
from tokenway.client.stream import Stream
from tokenway.common.v1.model_pb2 import Model
from tokenway.router.v1.router_pb2 import ExplainRouteResponse

LOCAL_ROUTER = "127.0.0.1:50051"


class Client:
    """One router, and the key to it. Connects at the first call.

    Over TLS wherever the address is not on this machine; `ca_file` names the authority to trust, None: the system's.
    Every failure is a CallError, but for an option that is none: a TypeError, as of any argument. Nothing is retried:
    the router does that (see `retry.again` for what it cannot). The current OpenTelemetry span, if there is one, is
    the parent of the mesh's.
    """

    def __init__(
        self,
        address: str = LOCAL_ROUTER,
        *,
        key: str,
        tls: bool | None = None,
        ca_file: str | Path | None = None,
        timeout_seconds: float = 60,
    ) -> None:
        self._address = address
        self._key = key
        self._tls = tls
        self._ca_file = Path(ca_file) if ca_file else None
        self._timeout_seconds = timeout_seconds
        self._connected: RouterClient | None = None

    def __repr__(self) -> str:
        return f"Client({self._address!r})"  # never the key

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection; calls in flight fail. The next call connects anew."""
        connected, self._connected = self._connected, None
        if connected is not None:
            await connected.close()

    def stream(self, question: Question, **options: Unpack[Options]) -> Stream:
        """The answer as it comes: `async for text in client.stream("…")`."""
        with call_errors():
            request = request_of(question, options)
            return Stream(self._router().stream_generate(request, timeout_seconds=self._time_for(options)))

    async def generate(self, question: Question, **options: Unpack[Options]) -> Answer:
        """The whole answer."""
        with call_errors():
            request = request_of(question, options)
            return Answer(await self._router().generate(request, timeout_seconds=self._time_for(options)))

    async def explain(self, question: Question, **options: Unpack[Options]) -> ExplainRouteResponse:
        """Which model the question would go to, with every model's verdict. Costs nothing."""
        with call_errors():
            request = request_of(question, options)
            return await self._router().explain_route(request, timeout_seconds=self._time_for(options))

    async def models(self) -> Sequence[Model]:
        """The models that the key may use, cheapest first."""
        with call_errors():
            return (await self._router().list_models(timeout_seconds=self._time_for({}))).models

    def _time_for(self, options: Options) -> float:
        seconds = options.get("timeout_seconds", self._timeout_seconds)
        check_timeout(seconds)
        return seconds

    def _router(self) -> RouterClient:
        # Here and not sooner: a channel belongs to the event loop that runs when it is made.
        if self._connected is None:
            calls = calling(self._address, key=self._key, tls=self._tls, ca_file=self._ca_file)
            self._connected = RouterClient(calls)
        return self._connected
