"""The one table between domain errors and gRPC: a reason is a status code with details, in both directions.

Details are google.rpc: ErrorInfo (reason, domain, metadata) always; BadRequest, QuotaFailure, RetryInfo and RequestInfo
where they apply; then whatever the service attached (a Receipt). Source: google/rpc/error_details.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from libs.errors import FieldViolation, QuotaViolation, Reason, TokenwayError

Part = TypeVar("Part", bound=Message)
DOMAIN = "tokenway"
DETAILS_KEY = "grpc-status-details-bin"
# What a caller is told of a bug of ours: the cause stays in the log and the span.
INTERNAL_MESSAGE = "internal error; quote the request id to whoever runs this mesh"

# A status travels in a header, of which peers take 8 KiB: the message percent-encoded (three times as long at worst),
# and again with the details in base64. What is longer would reach nobody; the rest of the room is for receipts.
_MAX_MESSAGE_BYTES = 600
_MAX_TEXT_BYTES = 256
_MAX_KIND_BYTES = 1_000

_Code = grpc.StatusCode
CODES: dict[Reason, grpc.StatusCode] = {
    Reason.INVALID_REQUEST: _Code.INVALID_ARGUMENT,
    Reason.CONTEXT_TOO_LONG: _Code.INVALID_ARGUMENT,
    Reason.CONTENT_REFUSED: _Code.INVALID_ARGUMENT,
    Reason.KEY_MISSING: _Code.UNAUTHENTICATED,
    Reason.KEY_UNKNOWN: _Code.UNAUTHENTICATED,
    Reason.KEY_EXPIRED: _Code.UNAUTHENTICATED,
    Reason.KEY_REVOKED: _Code.UNAUTHENTICATED,
    Reason.NOT_OF_THE_MESH: _Code.UNAUTHENTICATED,
    Reason.MODEL_NOT_ALLOWED: _Code.PERMISSION_DENIED,
    Reason.ROLE_REQUIRED: _Code.PERMISSION_DENIED,
    Reason.BUDGET_EXCEEDED: _Code.RESOURCE_EXHAUSTED,
    Reason.CONCURRENCY_EXCEEDED: _Code.RESOURCE_EXHAUSTED,
    Reason.QUEUE_FULL: _Code.RESOURCE_EXHAUSTED,
    Reason.NO_MODEL_QUALIFIES: _Code.FAILED_PRECONDITION,
    Reason.RESERVATION_CLOSED: _Code.FAILED_PRECONDITION,
    Reason.OUT_OF_TIME: _Code.DEADLINE_EXCEEDED,
    Reason.ALL_CANDIDATES_FAILED: _Code.UNAVAILABLE,
    Reason.STREAM_BROKEN: _Code.UNAVAILABLE,
    Reason.BUDGET_UNAVAILABLE: _Code.UNAVAILABLE,
    Reason.KEY_STORE_UNAVAILABLE: _Code.UNAVAILABLE,
    Reason.ENGINE_DEAD: _Code.UNAVAILABLE,
    Reason.SERVICE_UNAVAILABLE: _Code.UNAVAILABLE,
    Reason.DRAINING: _Code.UNAVAILABLE,
    Reason.RESERVATION_NOT_FOUND: _Code.NOT_FOUND,
    Reason.NOT_FOUND: _Code.NOT_FOUND,
    Reason.NOT_SERVED: _Code.UNIMPLEMENTED,
    Reason.CANCELLED: _Code.CANCELLED,
    Reason.INTERNAL: _Code.INTERNAL,
}
# For a status that carries no ErrorInfo: gRPC itself made it, or a proxy did. Anything else is INTERNAL.
_BARE: dict[grpc.StatusCode, Reason] = {
    _Code.UNAVAILABLE: Reason.SERVICE_UNAVAILABLE,
    _Code.DEADLINE_EXCEEDED: Reason.OUT_OF_TIME,
    # Not by us: that raises CancelledError. A server that stops drops so what it had not accepted (grpc/grpc#41785).
    _Code.CANCELLED: Reason.SERVICE_UNAVAILABLE,
    _Code.UNIMPLEMENTED: Reason.NOT_SERVED,
    _Code.RESOURCE_EXHAUSTED: Reason.QUEUE_FULL,
    _Code.INVALID_ARGUMENT: Reason.INVALID_REQUEST,
}


def to_status(error: TokenwayError, request_id: str = "") -> Status:
    """The error as a status with details. INTERNAL loses its message: it may hold what the caller must not see."""
    internal = error.reason is Reason.INTERNAL
    metadata = {"request_id": request_id} if internal else error.metadata
    message = INTERNAL_MESSAGE if internal else _cut(error.message, _MAX_MESSAGE_BYTES)
    status = Status(code=CODES[error.reason].value[0], message=message)
    details: list[Message] = [ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_metadata(metadata))]
    if error.fields:
        details.append(BadRequest(field_violations=_fitting(_field(each) for each in error.fields)))
    if error.quotas:
        details.append(QuotaFailure(violations=_fitting(_quota(each) for each in error.quotas)))
    if error.retry_after_seconds is not None:
        details.append(RetryInfo(retry_delay=_duration(error.retry_after_seconds)))
    if request_id:
        details.append(RequestInfo(request_id=request_id))
    details.extend(each for each in error.attachments if isinstance(each, Message))
    for detail in details:
        status.details.add().Pack(detail)
    return status


def from_status(status: Status) -> TokenwayError:
    """The error that `to_status` was given; details of unknown types stay as attachments of type Any."""
    info, bad, quota, retry = ErrorInfo(), BadRequest(), QuotaFailure(), RetryInfo()
    # RequestInfo is dropped: whoever passes the error on states its own.
    known = (info, bad, quota, retry, RequestInfo())
    rest = [detail for detail in status.details if not any(detail.Unpack(each) for each in known)]
    return TokenwayError(
        reason=_reason(info, status.code),
        message=status.message,
        metadata=dict(info.metadata),
        retry_after_seconds=_seconds(retry) if retry.HasField("retry_delay") else None,
        fields=tuple(FieldViolation(each.field, each.description) for each in bad.field_violations),
        quotas=tuple(QuotaViolation(each.subject, each.description) for each in quota.violations),
        attachments=tuple(rest),
    )


def from_rpc_error(error: grpc.aio.AioRpcError, service: str) -> TokenwayError:
    """What a failed outbound call means to the one that made it."""
    packed = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    if isinstance(packed, bytes):
        try:
            return from_status(Status.FromString(packed))
        except DecodeError:
            pass  # not ours to trust: the bare code says what is known
    reason = _BARE.get(error.code(), Reason.INTERNAL)
    # Not its details: they name addresses inside the mesh. The cause holds them, for whoever looks after it.
    said = "cannot be reached" if error.code() is _Code.UNAVAILABLE else f"answered {error.code().name}"
    return TokenwayError(reason, f"{service}: {said}", metadata={"service": service})


def receipt_of(error: TokenwayError, kind: type[Message]) -> Message | None:
    """The attachment of that message type, if the status carried one."""
    for each in error.attachments:
        found = kind()
        if isinstance(each, kind):
            return each
        if isinstance(each, Any) and each.Unpack(found):
            return found
    return None


def _reason(info: ErrorInfo, code: int) -> Reason:
    if info.domain == DOMAIN and info.reason in Reason.__members__:
        return Reason[info.reason]
    by_code = {each.value[0]: reason for each, reason in _BARE.items()}
    return by_code.get(code, Reason.INTERNAL)


def _field(violation: FieldViolation) -> BadRequest.FieldViolation:
    field, description = _cut(violation.field, _MAX_TEXT_BYTES), _cut(violation.description, _MAX_TEXT_BYTES)
    return BadRequest.FieldViolation(field=field, description=description)


def _quota(violation: QuotaViolation) -> QuotaFailure.Violation:
    subject, description = _cut(violation.subject, _MAX_TEXT_BYTES), _cut(violation.description, _MAX_TEXT_BYTES)
    return QuotaFailure.Violation(subject=subject, description=description)


def _metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    entries = (ErrorInfo(metadata={key: _cut(value, _MAX_TEXT_BYTES)}) for key, value in metadata.items())
    return {key: value for each in _fitting(entries) for key, value in each.metadata.items()}


def _fitting(details: Iterable[Part]) -> list[Part]:
    """The first of them, as many as there is room for."""
    room, fitting = _MAX_KIND_BYTES, []
    for each in details:
        room -= each.ByteSize()
        if room < 0:
            break
        fitting.append(each)
    return fitting


def _cut(text: str, limit_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return text
    return encoded[: limit_bytes - len("…".encode())].decode(errors="ignore") + "…"


def _duration(seconds: float) -> Duration:
    # Rounded up to the millisecond: a caller that waits exactly so long must not be early.
    milliseconds = math.ceil(seconds * 1000)
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def _seconds(retry: RetryInfo) -> float:
    return retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
