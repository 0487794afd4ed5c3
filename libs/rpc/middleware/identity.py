"""The request id: made at the public port, passed on inside the mesh."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.rpc.call import Call, Middleware, current_request_id

REQUEST_ID_KEY = "x-request-id"
_MAX_LENGTH = 64


def identity(*, trusted: bool) -> Middleware:
    """Names the call. Only a caller of the mesh may bring its own name: it is a key of ledger and traces."""

    @asynccontextmanager
    async def surround(call: Call) -> AsyncIterator[None]:
        given = call.metadata.get(REQUEST_ID_KEY, "")[:_MAX_LENGTH] if trusted else ""
        call.request_id = given or uuid.uuid4().hex
        if not trusted:
            call.initial_metadata[REQUEST_ID_KEY] = call.request_id
        token = current_request_id.set(call.request_id)
        try:
            yield
        finally:
            current_request_id.reset(token)

    return surround
