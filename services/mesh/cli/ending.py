"""How a command ends: one line for people, one exit code for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from libs.errors import Reason, TokenwayError

# 1 is what is in none of the classes: a service that failed, a bug.
DONE = 0
FAILED = 1
USAGE = 2
REFUSED = 3
KEY = 4
LIMIT = 5
UNAVAILABLE = 6
CANCELLED = 130

# As --help and the README say it.
MEANINGS = {
    DONE: "done",
    FAILED: "failed: a service did not start or died, no mesh is running, something is wrong",
    USAGE: "wrong usage, or a configuration that is refused",
    REFUSED: "the request is refused as it is: invalid, too long, no model qualifies",
    KEY: "the key: missing, unknown, expired, revoked, or not allowed",
    LIMIT: "a limit: budget, concurrency, queue; the message says when again",
    UNAVAILABLE: "unavailable, or out of time",
    CANCELLED: "interrupted",
}

_CODES = {
    REFUSED: (
        *(Reason.INVALID_REQUEST, Reason.CONTEXT_TOO_LONG, Reason.CONTENT_REFUSED, Reason.NO_MODEL_QUALIFIES),
        *(Reason.NOT_FOUND, Reason.NOT_SERVED),
    ),
    KEY: (
        *(Reason.KEY_MISSING, Reason.KEY_UNKNOWN, Reason.KEY_EXPIRED, Reason.KEY_REVOKED),
        *(Reason.MODEL_NOT_ALLOWED, Reason.ROLE_REQUIRED, Reason.NOT_OF_THE_MESH),
    ),
    LIMIT: (Reason.BUDGET_EXCEEDED, Reason.CONCURRENCY_EXCEEDED, Reason.QUEUE_FULL),
    UNAVAILABLE: (
        *(Reason.OUT_OF_TIME, Reason.ALL_CANDIDATES_FAILED, Reason.STREAM_BROKEN, Reason.BUDGET_UNAVAILABLE),
        *(Reason.KEY_STORE_UNAVAILABLE, Reason.ENGINE_DEAD, Reason.SERVICE_UNAVAILABLE, Reason.DRAINING),
    ),
    CANCELLED: (Reason.CANCELLED,),
}
EXIT_CODES = {reason: code for code, reasons in _CODES.items() for reason in reasons}


def exit_code(error: Exception) -> int:
    """The class of the failure, for scripts that want to try again, or not to."""
    return EXIT_CODES.get(error.reason, FAILED) if isinstance(error, TokenwayError) else FAILED


def request_id(error: TokenwayError) -> str | None:
    """The id that the router gave the request; None when it never reached one."""
    if error.__cause__ is None:
        return None
    # Only with gRPC there are causes; without it, which `tokenway doctor` must bear, there is nothing to import.
    from tokenway.client.errors import request_id_of  # noqa: PLC0415

    return request_id_of(error)


def one_line(error: TokenwayError, *, now: datetime) -> str:
    """Reason, message, what the message leaves out, when again, and the request's id."""
    return " ".join("; ".join(_parts(error, now)).split())


def _parts(error: TokenwayError, now: datetime) -> Iterator[str]:
    yield f"{error.reason}: {error.message}"
    yield from (f"{each.field}: {each.description}" for each in error.fields if each.description not in error.message)
    yield from (f"{each.subject}: {each.description}" for each in error.quotas if each.description not in error.message)
    if error.retry_after_seconds is not None:
        again = now.astimezone(UTC) + timedelta(seconds=error.retry_after_seconds)
        yield f"again in {_duration(error.retry_after_seconds)}, at {again:%Y-%m-%d %H:%M:%S} UTC"
    if asked := request_id(error):
        yield f"request {asked}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, hours = seconds / 60, seconds / 3_600
    if minutes < 60:
        return f"{minutes:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
