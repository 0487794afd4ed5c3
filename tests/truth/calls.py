"""What each span says of itself, and whether both sides of a call say the same."""

from __future__ import annotations

from collections.abc import Iterator

from libs.errors import Reason
from libs.rpc.status import CODES
from libs.telemetry import names
from libs.telemetry.span import EndedSpan, SpanKind, SpanStatus
from services.mesh.trace.tree import Node
from tests.truth.fault import Fault
from tests.truth.kills import Kills
from tests.truth.seen import Seen
from tests.truth.trace import ROUTER, code, error_type, kind, server_of

# OpenTelemetry's RPC conventions: on the server these are errors, and no others.
_SERVER_ERRORS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
# How the client ends a call by itself.
BROKEN_OFF = {"CANCELLED", "DEADLINE_EXCEEDED"}
# So long a message may be on its way on a busy machine: a call that was broken off sooner may never have reached its
# server, and a server may have ended it otherwise before it heard of that.
_ARRIVES_NANOS = 1_000_000_000


def faults(node: Node, seen: Seen, kills: Kills) -> Iterator[Fault]:
    """Of one span and those right below it."""
    span = node.span
    if span.end_unix_nanos < span.start_unix_nanos:
        yield Fault(f"{kind(span)} ends before it begins")
    request_id = span.attributes.get(names.REQUEST_ID, seen.request_id)
    if seen.request_id and request_id != seen.request_id:
        yield Fault(f"{kind(span)} is of another request")
    if span.span_id != seen.span_id:
        yield from (Fault(f"{_side(span)}: {each}") for each in _own(node))
    if span.kind is SpanKind.CLIENT:
        yield from _other_side(node, seen, kills)
    elif span.kind is SpanKind.SERVER and span.service != server_of(span):
        yield Fault(f"{_side(span)}: it was served by {span.service}")


def _own(node: Node) -> Iterator[str]:
    match node.span.kind:
        case SpanKind.SERVER:
            yield from _rpc(node.span, is_error=code(node.span) in _SERVER_ERRORS)
        case SpanKind.CLIENT:
            # Leaving a call on purpose is no error.
            left = code(node.span) == "CANCELLED" and not error_type(node.span)
            yield from _rpc(node.span, is_error=code(node.span) != "OK" and not left, has_type=not left)
        case _ if node.span.name != names.SPAN_ENGINE and node.span.status is not SpanStatus.UNSET:
            yield f"its status is {node.span.status}"


def _rpc(span: EndedSpan, *, is_error: bool, has_type: bool = True) -> Iterator[str]:
    if not code(span):
        yield "it does not say how it ended"
        return
    expected = SpanStatus.ERROR if is_error else SpanStatus.UNSET
    if span.status is not expected:
        yield f"{code(span)} with status {span.status}"
    if code(span) == "OK" and error_type(span):
        yield f"OK with error.type {error_type(span)}"
    if code(span) != "OK" and has_type and not _belong_together(span):
        yield f"{code(span)} with error.type {error_type(span) or 'nothing'}"


def _belong_together(span: EndedSpan) -> bool:
    reason = error_type(span)
    return reason in Reason.__members__ and CODES[Reason[reason]].name == code(span)


def _other_side(node: Node, seen: Seen, kills: Kills) -> Iterator[Fault]:
    """Of a call: the server's span, once; by the same service and with the same end."""
    client = node.span
    server = ROUTER if client.span_id == seen.span_id else server_of(client)
    below = [each.span for each in node.children if each.span.kind is SpanKind.SERVER]
    process = seen.router if server == ROUTER else ""
    if len(below) != 1 or len(node.children) != 1:
        brought = seen.request_id if client.span_id == seen.span_id else client.events
        if not node.children and not brought and _never_arrived(client, server, process, kills):
            return
        excused = kills.lost(server, client.start_unix_nanos, client.end_unix_nanos, process=process)
        yield Fault(f"{_side(client)}: {len(node.children)} spans of its server", excused and not node.children)
    for span in below:
        yield from (Fault(f"{_side(client)}: {each}") for each in _both(client, span))


def _both(client: EndedSpan, server: EndedSpan) -> Iterator[str]:
    method = client.attributes.get(names.RPC_METHOD, server.attributes.get(names.RPC_METHOD))
    if server.attributes.get(names.RPC_METHOD) != method:
        yield f"its server did {kind(server)}"
    if code(server) != code(client):
        in_time = server.end_unix_nanos <= client.end_unix_nanos + _ARRIVES_NANOS
        if not (code(client) in BROKEN_OFF and in_time):
            yield f"{code(client)} to the client, {code(server)} to the server"
    elif error_type(client) not in ("", error_type(server)):
        yield f"{error_type(client)} to the client, {error_type(server)} to the server"


def _never_arrived(client: EndedSpan, server: str, process: str, kills: Kills) -> bool:
    if code(client) == "UNAVAILABLE":
        return kills.away(server, client.end_unix_nanos, process=process)
    lasted = client.end_unix_nanos - client.start_unix_nanos
    return code(client) in BROKEN_OFF and lasted < _ARRIVES_NANOS


def _side(span: EndedSpan) -> str:
    return f"{kind(span)} ({span.kind})"
