"""When to ask again, as middleware: a service of the mesh that is away is being started again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from libs.errors import Reason, TokenwayError
from libs.rpc.call import Call, Middleware

_AGAIN_SECONDS = 1.0


def retry_info() -> Middleware:
    """Whoever finds a service away does not know when it is back; to a caller no RetryInfo would mean never."""

    @asynccontextmanager
    async def surround(call: Call) -> AsyncIterator[None]:
        try:
            yield
        except TokenwayError as error:
            if error.reason is not Reason.SERVICE_UNAVAILABLE or error.retry_after_seconds is not None:
                raise
            message = f"{error.message}; try again shortly"
            raise replace(error, message=message, retry_after_seconds=_AGAIN_SECONDS) from error

    return surround
