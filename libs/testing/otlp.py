"""A collector in the test's own process: a real OTLP server, gRPC or HTTP, whose spans a test can wait for."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from libs.rpc.tls import Tls
from libs.telemetry.otlp_receiver import ended_spans, otlp_receiver
from libs.telemetry.span import EndedSpan


class SpanCollector:
    """A sink in memory: every span once, by its id. `address` is where it receives."""

    def __init__(self) -> None:
        self.address = ""
        # Those of the latest batch: metadata or HTTP headers, their names in lower case.
        self.headers: dict[str, str] = {}
        self._spans: dict[tuple[str, str], EndedSpan] = {}
        self._changed = asyncio.Condition()

    @property
    def spans(self) -> list[EndedSpan]:
        """All that came, in order of arrival."""
        return list(self._spans.values())

    async def take(self, spans: Sequence[EndedSpan]) -> None:
        async with self._changed:
            for span in spans:
                self._spans.setdefault((span.trace_id, span.span_id), span)
            self._changed.notify_all()

    async def wait_for(
        self, enough: Callable[[list[EndedSpan]], bool], *, timeout_seconds: float = 5.0
    ) -> list[EndedSpan]:
        """The spans as soon as there are enough; AssertionError naming those that came, when time is up."""
        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait_for(lambda: enough(self.spans))
        except TimeoutError as error:
            came = sorted(f"{span.service}: {span.name}" for span in self.spans)
            raise AssertionError(f"not enough spans after {timeout_seconds} s; {len(came)} came: {came}") from error
        return self.spans

    async def named(self, *names: str, timeout_seconds: float = 5.0) -> dict[str, EndedSpan]:
        """One span of each name, as soon as all have come."""
        wanted = set(names)
        spans = await self.wait_for(
            lambda come: wanted <= {span.name for span in come}, timeout_seconds=timeout_seconds
        )
        return {span.name: span for span in spans if span.name in wanted}


class _Headers(grpc.aio.ServerInterceptor):
    def __init__(self, collector: SpanCollector) -> None:
        self._collector = collector

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        metadata = handler_call_details.invocation_metadata or ()
        self._collector.headers = {str(key): str(value) for key, value in metadata}
        return await continuation(handler_call_details)


@asynccontextmanager
async def span_collector(address: str = "127.0.0.1:0", *, tls: Tls | None = None) -> AsyncIterator[SpanCollector]:
    """A collector that is listening, by gRPC."""
    collector = SpanCollector()
    receiver = otlp_receiver(
        address,
        sink=collector,
        credentials=tls.server_credentials() if tls else None,
        interceptors=(_Headers(collector),),
    )
    async with receiver as bound:
        collector.address = bound
        yield collector


@asynccontextmanager
async def http_span_collector(*, tls: Tls | None = None, status: int | None = 200) -> AsyncIterator[SpanCollector]:
    """The same by HTTP. It gives every batch this status, and takes it with 200 alone; None: it hangs."""
    collector, connections = SpanCollector(), dict[asyncio.Task[None], asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            connections[task] = writer
        with suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                collector.headers = {
                    "path": head[0].split()[1],
                    **{name.lower(): value for name, _, value in (each.partition(": ") for each in head[1:])},
                }
                body = await reader.readexactly(int(collector.headers["content-length"]))
                if status == 200:
                    await collector.take(list(ended_spans(ExportTraceServiceRequest.FromString(body))))
                if status is not None:
                    writer.write(f"HTTP/1.1 {status} so\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".encode())

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=_server_context(tls) if tls else None)
    collector.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield collector
    finally:
        server.close()
        for writer in connections.values():
            writer.close()
        await asyncio.gather(*connections)


def _server_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.ca_file)
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    context.verify_mode = ssl.CERT_REQUIRED if tls.mutual else ssl.CERT_NONE
    return context
