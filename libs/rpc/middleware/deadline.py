"""The caller's deadline, kept here and inherited by every outbound call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.errors import Reason, TokenwayError
from libs.rpc.call import Call, Middleware, current_deadline

# Held back from what the caller allows, so that our own answer (which phase, what was billed) arrives before the caller
# gives up by itself: a twentieth, at most 50 ms. Each hop holds back its own, so the inner ones end first.
_HELD_BACK_SHARE = 0.05
_HELD_BACK_MAX_SECONDS = 0.05


def deadline(*, default_seconds: float | None = None) -> Middleware:
    """Ends the call with OUT_OF_TIME when its time is up; `default_seconds` is for callers that set no deadline."""

    @asynccontextmanager
    async def surround(call: Call) -> AsyncIterator[None]:
        allowed = call.remaining_seconds()
        allowed = default_seconds if allowed is None else allowed
        usable = None if allowed is None else allowed - min(allowed * _HELD_BACK_SHARE, _HELD_BACK_MAX_SECONDS)
        # From here inwards the deadline is ours, not the caller's.
        call.deadline = None if usable is None else time.monotonic() + usable
        token = current_deadline.set(call.deadline)
        limit = asyncio.timeout(usable)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise _out_of_time(allowed) from error
        finally:
            current_deadline.reset(token)

    return surround


def _out_of_time(allowed_seconds: float | None) -> TokenwayError:
    allowed = f"{allowed_seconds or 0:.3f}"
    message = f"the deadline of {allowed} s passed before the answer was whole; allow more time or ask for less"
    return TokenwayError(Reason.OUT_OF_TIME, message, metadata={"allowed_seconds": allowed})
