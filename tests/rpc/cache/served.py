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
    async with serve(config, runtime=runtime, encoder=encoder or WordCounter(), index=index, **stores) as server:
        client = runtime.client(server.address, service="cache")
        try:
            yield Served(client, recorded, clock, in_memory, labels)
        finally:
            await client.close()


async def _streamed(events: Iterable[pb.FillRequest]) -> AsyncIterator[pb.FillRequest]:
    for event in events:
        yield event
