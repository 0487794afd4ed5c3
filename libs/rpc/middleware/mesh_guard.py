"""Internal ports are for the mesh alone: a token that all its services share, or certificates (mTLS)."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from libs.errors import Reason, TokenwayError
from libs.rpc.call import Call, Middleware

MESH_TOKEN_KEY = "x-tokenway-mesh-token"  # noqa: S105  # the name of the metadata, not a secret


def is_of_the_mesh(metadata: Mapping[str, str], mesh_token: str) -> bool:
    """Compares in constant time. An empty token admits nobody."""
    given = metadata.get(MESH_TOKEN_KEY, "")
    return bool(mesh_token) and hmac.compare_digest(given.encode(), mesh_token.encode())


def mesh_guard(*, mesh_token: str) -> Middleware:
    """Refuses calls without the token. With mTLS the handshake has refused strangers already, and this is left out."""

    @asynccontextmanager
    async def surround(call: Call) -> AsyncIterator[None]:
        if not is_of_the_mesh(call.metadata, mesh_token):
            message = f"this port is for the mesh alone: send the mesh token in {MESH_TOKEN_KEY}, or call the router"
            raise TokenwayError(Reason.NOT_OF_THE_MESH, message)
        yield

    return surround
