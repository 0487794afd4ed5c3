"""The one kind of error that crosses a service's border: a reason, numbers, and what to do about it.

Pure: knows no gRPC. `libs.rpc.status` is the only place that maps a reason to a status code and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Reason(StrEnum):
    """Why a call failed: the names of `tokenway.common.v1.ErrorReason`, where each is explained with its metadata."""

    INVALID_REQUEST = "INVALID_REQUEST"
    CONTEXT_TOO_LONG = "CONTEXT_TOO_LONG"
    KEY_MISSING = "KEY_MISSING"
    KEY_UNKNOWN = "KEY_UNKNOWN"
    KEY_EXPIRED = "KEY_EXPIRED"
    KEY_REVOKED = "KEY_REVOKED"
    MODEL_NOT_ALLOWED = "MODEL_NOT_ALLOWED"
    ROLE_REQUIRED = "ROLE_REQUIRED"
    NOT_OF_THE_MESH = "NOT_OF_THE_MESH"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    CONCURRENCY_EXCEEDED = "CONCURRENCY_EXCEEDED"
    QUEUE_FULL = "QUEUE_FULL"
    NO_MODEL_QUALIFIES = "NO_MODEL_QUALIFIES"
    OUT_OF_TIME = "OUT_OF_TIME"
    ALL_CANDIDATES_FAILED = "ALL_CANDIDATES_FAILED"
    STREAM_BROKEN = "STREAM_BROKEN"
    BUDGET_UNAVAILABLE = "BUDGET_UNAVAILABLE"
    KEY_STORE_UNAVAILABLE = "KEY_STORE_UNAVAILABLE"
    ENGINE_DEAD = "ENGINE_DEAD"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    RESERVATION_NOT_FOUND = "RESERVATION_NOT_FOUND"
    RESERVATION_CLOSED = "RESERVATION_CLOSED"
    NOT_SERVED = "NOT_SERVED"
    INTERNAL = "INTERNAL"
    CANCELLED = "CANCELLED"
    DRAINING = "DRAINING"
    NOT_FOUND = "NOT_FOUND"
    CONTENT_REFUSED = "CONTENT_REFUSED"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that breaks a rule; the description holds the value, the limit and what to do."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """One limit that refuses; the subject is `scope:name`, `key:ci` for example."""

    subject: str
    description: str


@dataclass(eq=False)
class TokenwayError(Exception):
    """A failure that its caller can act on.

    `message` says what was wrong, the value, the limit and what to do, and may be shown to the caller: it never holds a
    secret, a prompt or an answer. `metadata` holds the same for programs, by the keys that ErrorReason documents.
    `attachments` are further details of a status, as they came from another service.
    """

    reason: Reason
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    fields: tuple[FieldViolation, ...] = ()
    quotas: tuple[QuotaViolation, ...] = ()
    attachments: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def invalid_request(*violations: FieldViolation) -> TokenwayError:
    """INVALID_REQUEST naming every field that breaks a rule, not only the first."""
    message = "; ".join(f"{each.field}: {each.description}" for each in violations)
    return TokenwayError(Reason.INVALID_REQUEST, message, fields=violations)
