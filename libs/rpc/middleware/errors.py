"""Turns every way in which a handler can fail into a status. The only place that does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog
from google.protobuf.message import Message

from libs.errors import Reason, TokenwayError
from libs.rpc.call import Call, Middleware
from libs.rpc.failure import RpcFailureError
from libs.rpc.status import to_status

Pack = Callable[[object], Message]


def errors(*, pack: Pack | None = None) -> Middleware:
    """Domain errors by the table; anything else is our bug, INTERNAL. Cancellation passes: it is no failure.

    `pack` makes a message of what a service attached to an error, a receipt for example.
    """
    log = structlog.get_logger("rpc")

    @asynccontextmanager
    async def surround(call: Call) -> AsyncIterator[None]:
        try:
            yield
        except TokenwayError as error:
            if error.reason is Reason.INTERNAL:
                log.error("internal error", path=call.path, exc_info=error)
            raise _failure(error, call, pack) from error
        except Exception as error:
            log.error("unexpected error", path=call.path, exc_info=error)
            raise _failure(TokenwayError(Reason.INTERNAL, ""), call, pack) from error

    return surround


def _failure(error: TokenwayError, call: Call, pack: Pack | None) -> RpcFailureError:
    # An attachment that came with an error of another service was meant for this one, not for its caller.
    details = tuple(pack(each) for each in call.attachments) if pack else ()
    return RpcFailureError(to_status(replace(error, attachments=details), call.request_id))
