"""Whether the trace of one request is true: all of it there, one tree, and every span says what happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from libs.errors import Reason
from libs.telemetry.span import EndedSpan, SpanKind
from tests.truth import account, calls
from tests.truth.endings import (
    CROWDED,
    ENDINGS,
    ENGINE_KILLED,
    FINISHED,
    KINDS,
    LEDGER_LOST,
    NO_KEYS,
    NO_LEDGER,
    ROUTER_KILLED,
)
from tests.truth.fault import Fault
from tests.truth.kills import Kills
from tests.truth.seen import Seen
from tests.truth.trace import INFERENCE, ROUTER, Trace, code, kind
from tokenway.common.v1.generation_pb2 import FINISH_REASON_BUDGET_UNAVAILABLE

# How long an answer may be on its way on a busy machine.
_WAY_BACK_NANOS = 250_000_000
# What may befall any request, meant or not.
_BEFALLS: dict[str, str] = {
    Reason.BUDGET_UNAVAILABLE: NO_LEDGER,
    Reason.KEY_STORE_UNAVAILABLE: NO_KEYS,
    Reason.CONCURRENCY_EXCEEDED: CROWDED,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`wrong` holds what nothing excuses; `lost` what a killed process took with it in its last second."""

    ending: str
    wrong: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return not self.wrong and not self.lost


def judge(seen: Seen, spans: Sequence[EndedSpan], kills: Kills, *, made_by: str = "") -> Verdict:
    """`made_by` is the span that stored the answer which this request should have been given; empty: unknown."""
    ending = ending_of(seen, kills)
    trace = Trace.of(spans, root=seen.span_id)
    faults = list(_faults(seen, ending, trace, kills, made_by)) if spans else [Fault("no span came")]
    return Verdict(
        ending,
        wrong=tuple(each.text for each in faults if not each.excused),
        lost=tuple(each.text for each in faults if each.excused),
    )


def ending_of(seen: Seen, kills: Kills) -> str:
    """The ending that was meant, unless something came between."""

    def killed(service: str, process: str = "") -> bool:
        return kills.during(service, seen.sent_at, seen.ended_at, process=process)

    nobody_there = kills.away(ROUTER, seen.ended_at, process=seen.router)
    if seen.reason == Reason.SERVICE_UNAVAILABLE and (killed(ROUTER, seen.router) or nobody_there):
        return ROUTER_KILLED
    if seen.reason == Reason.STREAM_BROKEN and killed(INFERENCE):
        return ENGINE_KILLED
    if seen.finished is not None and seen.finished.finish_reason == FINISH_REASON_BUDGET_UNAVAILABLE:
        return LEDGER_LOST
    if seen.maker and seen.started and not seen.cached:
        return FINISHED  # a cache that cannot answer in time stops nobody
    return _BEFALLS.get(seen.reason, seen.ending)


def _faults(seen: Seen, ending: str, trace: Trace, kills: Kills, made_by: str) -> Iterator[Fault]:
    if seen.reason not in ENDINGS[ending].sees:
        yield Fault(f"the caller saw {seen.reason}")
    if trace.root is None:
        yield Fault("the caller's span did not come")
    yield from _orphans(trace, seen, kills)
    for node in trace.nodes:
        yield from calls.faults(node, seen, kills)
    struck = kills.lost(ROUTER, seen.sent_at, trace.ended_at + _WAY_BACK_NANOS, process=seen.router)
    yield from _router(trace, ending, struck=struck)
    yield from account.faults(trace, seen, ending, made_by, struck=struck)


def _orphans(trace: Trace, seen: Seen, kills: Kills) -> Iterator[Fault]:
    for top in trace.others:
        span = top.span
        if not top.orphan:
            yield Fault(f"{kind(span)} of {span.service} is a second root")
        else:
            excused = _parent_was_lost(span, seen, kills)
            yield Fault(f"the parent of {kind(span)} of {span.service} did not come", excused)


def _parent_was_lost(span: EndedSpan, seen: Seen, kills: Kills) -> bool:
    """By when the parent ended: a call's client when it had the answer; what is inside of a request before that."""
    if span.kind is not SpanKind.SERVER and span.service != ROUTER:
        return kills.lost(span.service, span.start_unix_nanos, span.end_unix_nanos)
    if span.kind is SpanKind.SERVER and span.service == ROUTER:
        return False  # the caller's own
    # A router reads an answer as fast as its lease and its caller allow: to the end of the request perhaps.
    inside = span.service == ROUTER or kind(span) == "Generate"
    ended = seen.ended_at if inside else span.end_unix_nanos + _WAY_BACK_NANOS
    # Not from its own start on: what a router sent in its last moment is served after its death.
    return kills.lost(ROUTER, seen.sent_at, ended, process=seen.router)


def _router(trace: Trace, ending: str, *, struck: bool) -> Iterator[Fault]:
    """The router's children, counted. One that was struck never came to those that are missing, or took them along."""
    if trace.router is None and not trace.others:
        return  # calls.faults has told whether it may be missing
    below = trace.router.children if trace.router else ()
    found = [kind(each.span) for each in below if not _told_again(each.span)]
    for name in (*KINDS, *sorted(set(found) - set(KINDS))):
        least, most = ENDINGS[ending].count(name)
        if not (0 if struck else least) <= found.count(name) <= most:
            yield Fault(f"{found.count(name)} {name} below the router's span")
        elif found.count(name) < least and ending != ROUTER_KILLED:
            yield Fault(f"{found.count(name)} {name} below the router's span", excused=True)


def _told_again(span: EndedSpan) -> bool:
    """The ledger was away or slow: what ends an account insists."""
    return kind(span) in {"Settle", "Release"} and code(span) in {"DEADLINE_EXCEEDED", "UNAVAILABLE"}
