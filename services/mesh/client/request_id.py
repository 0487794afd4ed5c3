"""The id of a request that failed, for whoever looks for its trace."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status

from libs.errors import TokenwayError
from libs.rpc.middleware.identity import REQUEST_ID_KEY
from libs.rpc.status import DETAILS_KEY


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
