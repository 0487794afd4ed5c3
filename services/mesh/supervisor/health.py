"""Whether a service is SERVING, asked over the wire as any load balancer asks."""

from __future__ import annotations

import asyncio

from libs.rpc.channel import dial
from libs.rpc.probe import health
from services.mesh.errors import MeshError

_PATIENCE_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_BETWEEN_TRIES_SECONDS = 0.05


async def until_serving(name: str, address: str, *, service: str) -> None:
    """Returns once the server at a local plaintext address says that the service is SERVING; MeshError after 10 s."""
    last = "unknown"
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), dial(address) as channel:
            while (last := await health(channel, service, timeout_seconds=_ANSWER_SECONDS)) != "SERVING":  # noqa: ASYNC110 - another process cannot set an Event
                await asyncio.sleep(_BETWEEN_TRIES_SECONDS)
    except TimeoutError:
        raise MeshError(f"{name} said that it was ready at {address}, but its health there is {last}") from None
