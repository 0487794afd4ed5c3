"""The router that a command means, and how it is reached."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from libs.rpc.client import Client
from tokenway.client import router as client_of_router
from tokenway.client.router import RouterClient


@dataclass(frozen=True, slots=True)
class RouterAddress:
    """Where a router is, and the key to it. With TLS, `ca_file` names the authority to trust; None: the system's."""

    address: str
    key: str = field(repr=False)
    tls: bool = False
    ca_file: Path | None = None


@asynccontextmanager
async def connected(router: RouterAddress) -> AsyncIterator[RouterClient]:
    """A client while the block runs. Connects at the first call."""
    async with calling(router) as client:
        yield RouterClient(client)


@asynccontextmanager
async def calling(router: RouterAddress) -> AsyncIterator[Client]:
    """Calls with the key, while the block runs."""
    client = client_of_router.calling(router.address, key=router.key, tls=router.tls, ca_file=router.ca_file)
    try:
        yield client
    finally:
        await client.close()
