"""One line for a call that ended badly; none above debug for one that ended well: a line costs a fifth of a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from libs.rpc.call import Call, Middleware
from libs.rpc.ending import OK, Ending, ending_of

_LEVELS = {
    "OK": "debug",
    "INTERNAL": "error",
    "UNKNOWN": "error",
    "DATA_LOSS": "error",
    "UNAVAILABLE": "warning",
    "DEADLINE_EXCEEDED": "warning",
    "UNIMPLEMENTED": "warning",
}


def logging() -> Middleware:
    """The level follows the status code; no content, no metadata of the caller."""
    log = structlog.get_logger("rpc")

    @asynccontextmanager
    async def surround(call: Call) -> AsyncIterator[None]:
        began, ending = time.monotonic(), OK
        try:
            yield
        except (Exception, asyncio.CancelledError, GeneratorExit) as error:
            ending = ending_of(error, call)
            raise
        finally:
            _write(log, call, ending, time.monotonic() - began)

    return surround


def _write(log: structlog.stdlib.BoundLogger, call: Call, ending: Ending, seconds: float) -> None:
    write = getattr(log, _LEVELS.get(ending.code.name, "info"))
    write(
        "call",
        path=call.path,
        code=ending.code.name,
        reason=ending.reason,
        milliseconds=round(seconds * 1000, 3),
    )
