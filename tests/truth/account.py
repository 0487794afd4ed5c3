"""Whether the trace tells the same story as the caller's receipt, and as the ledger's, the engine's and the cache's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from libs.telemetry import names
from libs.telemetry.span import EndedSpan, SpanKind, SpanStatus
from services.mesh.trace.tree import Node
from tests.truth.calls import BROKEN_OFF
from tests.truth.endings import ATTEMPT, ENDINGS
from tests.truth.fault import Fault
from tests.truth.seen import Seen
from tests.truth.trace import Trace, code, error_type, kind
from tokenway.common.v1 import generation_pb2, money_pb2
from tokenway.router.v1 import router_pb2

_USAGE = (names.GEN_AI_USAGE_INPUT_TOKENS, names.GEN_AI_USAGE_OUTPUT_TOKENS)
# The others go on behind its back; but for an Extend, which is broken off where its answer ends.
_FOR_THE_CALLER = {"Lookup", ATTEMPT}
_CUT = {
    generation_pb2.FINISH_REASON_BUDGET,
    generation_pb2.FINISH_REASON_BUDGET_UNAVAILABLE,
    generation_pb2.FINISH_REASON_CONTENT_FILTER,
}
_VERDICTS = {
    router_pb2.CACHE_VERDICT_HIT: "hit",
    router_pb2.CACHE_VERDICT_MISS: "miss",
    router_pb2.CACHE_VERDICT_SHARED: "shared",
}


def faults(trace: Trace, seen: Seen, ending: str, made_by: str, *, struck: bool) -> Iterator[Fault]:
    """Of what the spans say about money, tokens and answers. A router that was `struck` did not come to all of it."""
    yield from map(Fault, _of_engines(trace))
    if trace.router is None:
        return
    router, below = trace.router.span, trace.router.children
    done = Counter(kind(each.span) for each in below)
    attempts = [each.span for each in below if kind(each.span) == ATTEMPT]
    told = (*_of_phase(done, seen), *_unclosed(below), *_of_attempts(attempts, seen))
    yield from (Fault(each, struck) for each in told)
    yield from map(Fault, _of_outcome(router, done, ending, seen))
    yield from map(Fault, _of_receipt(router, seen))
    yield from map(Fault, _of_ledger(router, below))
    yield from map(Fault, _broken_off_otherwise(below, router, seen))
    yield from map(Fault, _of_cache(trace, seen, made_by))


def _of_phase(done: Counter[str], seen: Seen) -> Iterator[str]:
    """What must have been done for the caller to have got so far, and what that leads to."""
    if done["Settle"] and done["Release"]:
        yield "both settled and returned"
    if seen.started is not None and not (done["Lookup"] and done["Reserve"] and (seen.cached or done[ATTEMPT])):
        yield f"an answer began without {', '.join(sorted({'Lookup', 'Reserve', ATTEMPT} - set(done)))}"
    if seen.deltas and not seen.cached and not done["Settle"]:
        yield "tokens came, and none were settled"


def _unclosed(below: list[Node]) -> Iterator[str]:
    done = {kind(each.span) for each in below if code(each.span) == "OK"}
    if "Reserve" in done and not done & {"Settle", "Release"}:
        yield "reserved, and neither settled nor returned"


def _of_outcome(router: EndedSpan, done: Counter[str], ending: str, seen: Seen) -> Iterator[str]:
    outcome = str(router.attributes.get(names.OUTCOME, ""))
    if outcome not in _outcomes(router, ending, seen) or bool(outcome) != bool(done["Lookup"] + done["Reserve"]):
        yield f"the router's outcome is {outcome or 'missing'}"


def _outcomes(router: EndedSpan, ending: str, seen: Seen) -> frozenset[str]:
    if seen.code in BROKEN_OFF - {code(router)}:
        if code(router) == "CANCELLED" and router.end_unix_nanos >= seen.deadline_at:
            # A request that was long on its way has its deadline later at the router, to which its caller just leaves.
            return frozenset({"", "cancelled"})
        # It was done before it heard of that; how long before, calls.faults has asked.
        return frozenset({"finished", "cached"} if code(router) == "OK" else {"", "failed", "deadline"})
    return ENDINGS[ending].outcomes


def _of_receipt(router: EndedSpan, seen: Seen) -> Iterator[str]:
    if seen.receipt is None:
        return
    told = {
        names.OUTCOME: money_pb2.Outcome.Name(seen.receipt.outcome).removeprefix("OUTCOME_").lower(),
        names.COST_MICRO_USD: seen.receipt.cost_micro_usd,
        names.GEN_AI_RESPONSE_MODEL: seen.receipt.model,
        names.GEN_AI_USAGE_INPUT_TOKENS: seen.receipt.usage.input_tokens,
        names.GEN_AI_USAGE_OUTPUT_TOKENS: seen.receipt.usage.output_tokens,
    }
    for name, value in told.items():
        if router.attributes.get(name) != value:
            yield f"{name} is {router.attributes.get(name)}, on the receipt {value}"


def _of_ledger(router: EndedSpan, below: list[Node]) -> Iterator[str]:
    """Settled for what the router says. A whole answer is booked as such, also if its caller gets no last message."""
    outcome, cost = (router.attributes.get(each) for each in (names.OUTCOME, names.COST_MICRO_USD))
    settled = [side.span for each in below if kind(each.span) == "Settle" for side in each.children]
    for each in (span.attributes for span in settled if code(span) == "OK"):
        if each.get(names.COST_MICRO_USD) != cost:
            yield f"the cost is {cost}, in the ledger {each.get(names.COST_MICRO_USD)}"
        if each.get(names.OUTCOME) != outcome and not (code(router) in BROKEN_OFF and _is_whole(below)):
            yield f"the outcome is {outcome}, in the ledger {each.get(names.OUTCOME)}"


def _is_whole(below: list[Node]) -> bool:
    return any(kind(each.span) == ATTEMPT and code(each.span) == "OK" for each in below)


def _of_attempts(attempts: list[EndedSpan], seen: Seen) -> Iterator[str]:
    numbers = sorted(int(str(each.attributes.get(names.ATTEMPT, 0))) for each in attempts)
    if numbers != list(range(1, len(attempts) + 1)):
        yield f"the attempts are numbered {numbers}"
    if seen.receipt is not None and seen.receipt.attempts != len(attempts):
        yield f"{len(attempts)} attempts, on the receipt {seen.receipt.attempts}"
    for each in attempts:
        if code(each) == "OK" and seen.finished is not None:
            usage = [each.attributes.get(name) for name in _USAGE]
            counted = [seen.finished.usage.input_tokens, seen.finished.usage.output_tokens]
            if usage != counted:
                yield f"the attempt's usage is {usage}, on the receipt {counted}"


def _broken_off_otherwise(below: list[Node], router: EndedSpan, seen: Seen) -> Iterator[str]:
    """What is done for the caller is broken off as the router's own span says; what goes on behind its back is not."""
    # Nobody wants the rest of an answer that the budget or the guard has cut.
    cut = {"CANCELLED"} if seen.finished is not None and seen.finished.finish_reason in _CUT else set()
    for each in (node.span for node in below):
        allowed = {code(router), *cut} if kind(each) in _FOR_THE_CALLER else {"DEADLINE_EXCEEDED"}
        if kind(each) == "Lookup" and (code(router) == "DEADLINE_EXCEEDED" or _leads_in_vain(below)):
            allowed.add("CANCELLED")  # a look-up that is open is left, and so a lead is given back
        if kind(each) != "Extend" and code(each) in BROKEN_OFF - allowed:
            yield f"{kind(each)} (client) says {code(each)}, the router's own span {code(router)}"


def _leads_in_vain(below: list[Node]) -> bool:
    """It was to generate the answer for all who ask the same, and stores none, or another model's."""
    looked_up = [side.span for each in below if kind(each.span) == "Lookup" for side in each.children]
    leads = any(each.attributes.get(names.CACHE_VERDICT) == "miss" for each in looked_up)
    fell_back = len({each.span.name for each in below if kind(each.span) == ATTEMPT}) > 1
    return leads and (fell_back or not any(kind(each.span) == "Fill" for each in below))


def _of_engines(trace: Trace) -> Iterator[str]:
    for node in trace.nodes:
        if node.span.kind is SpanKind.SERVER and kind(node.span) == "Generate":
            engines = [each.span for each in node.children]
            if [each.name for each in engines] != [names.SPAN_ENGINE]:
                yield f"{len(engines)} spans below Generate (server)"
            for each in engines:
                yield from _of_engine(each, node.span)


def _of_engine(engine: EndedSpan, server: EndedSpan) -> Iterator[str]:
    """It failed, was aborted, or finished: as its service says."""
    aborted = names.EVENT_ABORTED in {each.name for each in engine.events}
    finished = names.GEN_AI_RESPONSE_FINISH_REASONS in engine.attributes
    match code(server):
        case "OK":
            agree = finished and not aborted and not error_type(engine)
        case "CANCELLED" | "DEADLINE_EXCEEDED":
            agree = (aborted or finished) and not error_type(engine)
        case _:
            agree = error_type(engine) == error_type(server) and not aborted
    if not agree:
        yield f"the engine's span does not say how it ended: {code(server)} of its service"
    if (engine.status is SpanStatus.ERROR) != bool(error_type(engine)):
        yield f"the engine's status is {engine.status} with error.type {error_type(engine) or 'nothing'}"


def _of_cache(trace: Trace, seen: Seen, made_by: str) -> Iterator[str]:
    lookups = [each.span for each in trace.nodes if each.span.kind is SpanKind.SERVER and kind(each.span) == "Lookup"]
    for lookup in lookups:
        verdict = lookup.attributes.get(names.CACHE_VERDICT)
        if seen.started is not None and verdict != _VERDICTS.get(seen.started.cache_verdict, verdict):
            yield f"the cache's verdict is {verdict}, to the caller {seen.started.cache_verdict}"
        links = [(each.trace_id, each.span_id) for each in lookup.links]
        if links != ([(seen.maker, made_by)] if seen.cached else []):
            yield f"{len(links)} links, and not just one to the span that stored the answer which it gave"
