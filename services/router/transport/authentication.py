"""The key in the metadata, as middleware: no RPC of the public port can forget to ask for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.errors import Reason, TokenwayError
from libs.rpc.call import Call, Middleware
from services.router.domain.ports import Keys

_SCHEME = "bearer "


def authentication(keys: Keys) -> Middleware:
    """Leaves the call's Principal for the servicer; KEY_MISSING and what `Keys` raises."""

    @asynccontextmanager
    async def surround(call: Call) -> AsyncIterator[None]:
        call.put(await keys.principal(_key(call)))
        yield

    return surround


def _key(call: Call) -> str:
    header = call.metadata.get("authorization", "")
    key = header[len(_SCHEME) :].strip() if header.lower().startswith(_SCHEME) else ""
    if not key:
        raise TokenwayError(Reason.KEY_MISSING, "no API key: send the metadata `authorization: Bearer KEY`")
    return key
