"""Why a call failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status

from libs.errors import TokenwayError
from libs.rpc.middleware.identity import REQUEST_ID_KEY
from libs.rpc.status import DETAILS_KEY, receipt_of
from tokenway.common.v1.money_pb2 import Receipt


@dataclass(eq=False)
class CallError(TokenwayError):
    """`reason` is stable for programs; the message says what was wrong, the value, the limit and what to do.

    `fields` and `quotas` name each rule and each limit that refuses. `retry_after_seconds` is None where later is no
    better. `receipt` bills what was delivered before the call failed; `request_id` is for whoever runs the mesh.
    """

    receipt: Receipt | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, error: TokenwayError) -> Self:
        """The same, with what else its status said."""
        receipt = receipt_of(error, Receipt)
        return cls(
            reason=error.reason,
            message=error.message,
            metadata=error.metadata,
            retry_after_seconds=error.retry_after_seconds,
            fields=error.fields,
            quotas=error.quotas,
            attachments=error.attachments,
            receipt=receipt if isinstance(receipt, Receipt) else None,
            request_id=request_id_of(error),
        )


@contextmanager
def call_errors() -> Iterator[None]:
    """Whatever fails in the block is a CallError."""
    try:
        yield
    except CallError:
        raise
    except TokenwayError as error:
        raise CallError.of(error) from error.__cause__


def request_id_of(error: TokenwayError) -> str | None:
    """The id that the router gave the request; None when it never reached a router."""
    cause = error.__cause__
    if not isinstance(cause, grpc.aio.AioRpcError):
        return None
    named = dict(cause.initial_metadata() or ()).get(REQUEST_ID_KEY)
    return str(named) if named else _from_details(dict(cause.trailing_metadata() or ()).get(DETAILS_KEY))


def _from_details(packed: str | bytes | None) -> str | None:
    # An error before the first message may come without initial metadata.
    if not isinstance(packed, bytes):
        return None
    info = RequestInfo()
    try:
        details = Status.FromString(packed).details
    except DecodeError:
        return None
    return next((info.request_id for each in details if each.Unpack(info)), None)
