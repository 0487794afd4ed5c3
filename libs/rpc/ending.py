"""How a call ended, for those who only watch: spans, metrics, logs."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from libs.errors import Reason
from libs.rpc.call import Call
from libs.rpc.failure import RpcFailureError
from libs.rpc.status import from_status


@dataclass(frozen=True, slots=True)
class Ending:
    """A status code, and the reason behind it."""

    code: grpc.StatusCode
    reason: str


OK = Ending(grpc.StatusCode.OK, "OK")
_CODES = {each.value[0]: each for each in grpc.StatusCode}


def ending_of(error: BaseException, call: Call) -> Ending:
    """What the caller saw. gRPC cancels a handler when its caller leaves or its deadline passes: time says which."""
    if isinstance(error, RpcFailureError):
        return Ending(_CODES[error.status.code], from_status(error.status).reason)
    if isinstance(error, Exception):
        return Ending(grpc.StatusCode.UNKNOWN, type(error).__name__)
    remaining = call.remaining_seconds()
    if remaining is not None and remaining <= 0:
        return Ending(grpc.StatusCode.DEADLINE_EXCEEDED, Reason.OUT_OF_TIME)
    return Ending(grpc.StatusCode.CANCELLED, Reason.CANCELLED)
