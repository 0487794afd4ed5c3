"""The judge notices what is missing, doubled or untrue, and excuses only what a killed process can have taken along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from libs.telemetry import names
from libs.telemetry.span import EndedSpan, SpanKind, SpanLink, SpanStatus
from libs.testing.spans import TRACE_ID, ended_span
from tests.truth.book import Book
from tests.truth.judge import Verdict, judge
from tests.truth.kills import Kill, Kills
from tests.truth.report import Report
from tests.truth.seen import Seen
from tests.truth.trace import ROUTER
from tokenway.common.v1 import money_pb2
from tokenway.router.v1 import router_pb2

MAKER = ("f" * 32, "f" * 16)
SECOND = 1_000_000_000


def seen() -> Seen:
    """A request that was answered in four milliseconds."""
    usage = money_pb2.Usage(input_tokens=3, output_tokens=8)
    receipt = money_pb2.Receipt(
        usage=usage, cost_micro_usd=83, outcome=money_pb2.OUTCOME_FINISHED, model="small", attempts=1
    )
    return Seen(
        ending="finished",
        router="router-0",
        trace_id=TRACE_ID,
        span_id="1".zfill(16),
        sent_at=0,
        deadline_at=SECOND,
        ended_at=4_000_000,
        request_id="r1",
        deltas=1,
        started=router_pb2.Started(cache_verdict=router_pb2.CACHE_VERDICT_MISS),
        finished=router_pb2.Finished(usage=usage, receipt=receipt),
        receipt=receipt,
    )


# A call's two sides.
LOOK_UP, FILL = ("4", "5"), ("d", "e")


def whole() -> dict[str, EndedSpan]:
    """Its spans, by short ids: a call's client has the id before its server's."""
    money = {names.OUTCOME: "finished", names.COST_MICRO_USD: 83}
    usage = {names.GEN_AI_USAGE_INPUT_TOKENS: 3, names.GEN_AI_USAGE_OUTPUT_TOKENS: 8}
    router = {**money, **usage, names.GEN_AI_RESPONSE_MODEL: "small", names.REQUEST_ID: "r1"}
    spans = [
        ended_span("1", name="chat small", service="caller", kind=SpanKind.CLIENT, duration_ms=4),
        _rpc("2", "1", "tokenway-router", "router.v1.RouterService/StreamGenerate", **router),
        ended_span("3", parent="2", name="route", service="tokenway-router"),
        ended_span("f", parent="2", name="guard.input", service="tokenway-router"),
        ended_span("10", parent="2", name="guard.output", service="tokenway-router"),
        *_call("4", "5", "tokenway-cache", "cache.v1.CacheService/Lookup", **{names.CACHE_VERDICT: "miss"}),
        *_call("6", "7", "tokenway-budget", "budget.v1.BudgetService/Reserve"),
        *_call("8", "9", "tokenway-inference", "inference.v1.InferenceService/Generate"),
        ended_span("a", parent="9", name="engine", service="tokenway-inference", attributes=_finish()),
        *_call("b", "c", "tokenway-budget", "budget.v1.BudgetService/Settle", **money),
        *_call("d", "e", "tokenway-cache", "cache.v1.CacheService/Fill"),
    ]
    found = {each.span_id.lstrip("0"): each for each in spans}
    found["1"] = _with(found["1"], **{names.RPC_RESPONSE_STATUS_CODE: "OK"})
    found["8"] = _with(found["8"], **{**usage, names.ATTEMPT: 1})
    return found


def _finish() -> dict[str, Any]:
    return {names.GEN_AI_RESPONSE_FINISH_REASONS: ("stop",)}


def _call(client: str, server: str, service: str, method: str, **attributes: Any) -> tuple[EndedSpan, EndedSpan]:
    asks = replace(_rpc(client, "2", "tokenway-router", method), kind=SpanKind.CLIENT)
    return asks, _rpc(server, client, service, method, **attributes)


def _rpc(span_id: str, parent: str, service: str, method: str, **attributes: Any) -> EndedSpan:
    given = {names.RPC_METHOD: f"tokenway.{method}", names.RPC_RESPONSE_STATUS_CODE: "OK", **attributes}
    return ended_span(span_id, parent=parent, service=service, kind=SpanKind.SERVER, name=method, attributes=given)


def _with(span: EndedSpan, **attributes: Any) -> EndedSpan:
    return replace(span, attributes={**span.attributes, **attributes})


def verdict(
    spans: dict[str, EndedSpan], *, kills: Kills | None = None, made_by: str = "", request: Seen | None = None
) -> Verdict:
    return judge(request or seen(), list(spans.values()), kills or Kills(), made_by=made_by)


def killed(process: str, *, after_seconds: float) -> Kills:
    kills = Kills()
    at = int(after_seconds * SECOND)
    kills.all.append(Kill(ROUTER, process, at, at, at + SECOND))
    return kills


def test_a_whole_trace_is_true() -> None:
    assert verdict(whole()).whole


@pytest.mark.parametrize("missing", sorted(whole()))
def test_no_span_may_be_missing(missing: str) -> None:
    spans = whole()
    del spans[missing]
    assert verdict(spans).wrong


@pytest.mark.parametrize("doubled", sorted(whole().keys() - {"1"}))
def test_no_span_may_be_there_twice(doubled: str) -> None:
    spans = whole()
    spans["again"] = replace(spans[doubled], span_id="b" * 16)
    assert verdict(spans).wrong


@pytest.mark.parametrize("wrong", sorted(whole().keys() - {"1"}))
def test_no_span_may_call_a_success_an_error(wrong: str) -> None:
    spans = whole()
    spans[wrong] = replace(spans[wrong], status=SpanStatus.ERROR)
    assert verdict(spans).wrong


@pytest.mark.parametrize(
    ("wrong", "code"), sorted(product(whole().keys() - {"1", "3", "a", "f", "10"}, ("", "CANCELLED", "INTERNAL")))
)
def test_both_sides_of_a_call_end_alike(wrong: str, code: str) -> None:
    spans = whole()
    spans[wrong] = _with(spans[wrong], **{names.RPC_RESPONSE_STATUS_CODE: code})
    assert verdict(spans).wrong


def left() -> dict[str, EndedSpan]:
    """One whose look-up was left, and that has stored its answer."""
    spans = whole()
    for each in LOOK_UP:
        spans[each] = _with(spans[each], **{names.RPC_RESPONSE_STATUS_CODE: "CANCELLED"})
    return spans


def stored_nothing() -> dict[str, EndedSpan]:
    return {name: span for name, span in left().items() if name not in FILL}


def fell_back() -> dict[str, EndedSpan]:
    spans = left()
    failed = {names.RPC_RESPONSE_STATUS_CODE: "UNAVAILABLE", names.ATTEMPT: 1}
    spans["12"] = replace(_with(spans["8"], **failed), span_id="12".zfill(16), name="chat large")
    return spans


def broken_off(spans: dict[str, EndedSpan]) -> list[str]:
    return [each for each in verdict(spans).wrong if each.startswith("Lookup (client) says")]


def test_a_look_up_may_be_left_by_who_leads_and_stores_nothing_of_that_model() -> None:
    assert not broken_off(stored_nothing())
    assert not broken_off(fell_back())


def test_a_look_up_may_not_be_left_by_who_stores_its_answer_or_does_not_lead() -> None:
    followed = stored_nothing()
    followed["5"] = _with(followed["5"], **{names.CACHE_VERDICT: "shared"})
    assert broken_off(left())
    assert broken_off(followed)


def test_a_trace_has_one_root_and_one_request() -> None:
    with_another_root, of_another_request = whole(), whole()
    with_another_root["11"] = ended_span("11", name="StreamGenerate", kind=SpanKind.SERVER, service=ROUTER)
    of_another_request["7"] = _with(of_another_request["7"], **{names.REQUEST_ID: "r2"})
    assert verdict(with_another_root).wrong
    assert verdict(of_another_request).wrong


@pytest.mark.parametrize(
    ("span", "name"),
    [
        ("2", names.OUTCOME),
        ("2", names.COST_MICRO_USD),
        ("2", names.GEN_AI_USAGE_INPUT_TOKENS),
        ("2", names.GEN_AI_USAGE_OUTPUT_TOKENS),
        ("2", names.GEN_AI_RESPONSE_MODEL),
        ("5", names.CACHE_VERDICT),
        ("8", names.GEN_AI_USAGE_OUTPUT_TOKENS),
        ("8", names.ATTEMPT),
        ("c", names.OUTCOME),
        ("c", names.COST_MICRO_USD),
    ],
)
def test_the_spans_say_what_is_on_the_receipt(span: str, name: str) -> None:
    spans = whole()
    spans[span] = _with(spans[span], **{name: 7})
    assert verdict(spans).wrong


def test_another_end_than_the_one_that_was_meant_is_wrong() -> None:
    assert "the caller saw OK" in verdict(whole(), request=replace(seen(), ending="refused: budget")).wrong


def _hit() -> tuple[Seen, dict[str, EndedSpan]]:
    receipt = money_pb2.Receipt(outcome=money_pb2.OUTCOME_CACHED, model="small")
    started = router_pb2.Started(cache_verdict=router_pb2.CACHE_VERDICT_HIT)
    request = replace(seen(), ending="finished: from the cache", maker=MAKER[0], started=started, receipt=receipt)
    spans = {name: span for name, span in whole().items() if name not in {"8", "9", "a", "d", "e"}}
    told = {names.OUTCOME: "cached", names.COST_MICRO_USD: 0}
    spans["2"] = _with(
        spans["2"], **told, **dict.fromkeys((names.GEN_AI_USAGE_INPUT_TOKENS, names.GEN_AI_USAGE_OUTPUT_TOKENS), 0)
    )
    spans["5"] = replace(_with(spans["5"], **{names.CACHE_VERDICT: "hit"}), links=(SpanLink(*MAKER),))
    for client_or_server in ("b", "c"):
        method = {names.RPC_METHOD: "tokenway.budget.v1.BudgetService/Release"}
        spans[client_or_server] = _with(spans[client_or_server], **method)
    return request, spans


def test_a_cached_answer_links_to_the_span_that_stored_it() -> None:
    request, spans = _hit()
    assert verdict(spans, request=request, made_by=MAKER[1]).whole
    assert verdict(spans, request=request, made_by="e" * 16).wrong
    spans["5"] = replace(spans["5"], links=())
    assert verdict(spans, request=request, made_by=MAKER[1]).wrong


def _router_killed() -> tuple[Seen, dict[str, EndedSpan]]:
    """In mid-stream: its own span and those that were open are lost."""
    request = replace(seen(), code="UNAVAILABLE", reason="SERVICE_UNAVAILABLE", finished=None, receipt=None)
    spans = {name: span for name, span in whole().items() if name in {"1", "f", "3", "4", "5", "6", "7", "9", "a"}}
    left = {names.RPC_RESPONSE_STATUS_CODE: "CANCELLED", names.ERROR_TYPE: "CANCELLED"}
    spans["1"] = _with(spans["1"], **{names.RPC_RESPONSE_STATUS_CODE: "UNAVAILABLE"})
    spans["9"] = _with(spans["9"], **left)
    return request, spans


def test_what_a_killed_router_had_open_is_lost_and_not_wrong() -> None:
    request, spans = _router_killed()
    found = verdict(spans, request=request, kills=killed("router-0", after_seconds=0.003))
    assert (found.ending, found.wrong) == ("killed: the router", ())
    assert found.lost


@pytest.mark.parametrize("kills", [Kills(), killed("router-1", after_seconds=0.003)])
def test_nothing_is_excused_by_a_kill_that_was_not_or_of_another_process(kills: Kills) -> None:
    request, spans = _router_killed()
    assert verdict(spans, request=request, kills=kills).wrong


@pytest.mark.parametrize(("killed_after_seconds", "excused"), [(1.1, True), (1.4, False)])
def test_only_the_last_second_may_be_lost(killed_after_seconds: float, excused: bool) -> None:
    spans = whole()
    del spans["b"]  # the client's side of a call that was answered within a millisecond
    found = verdict(spans, kills=killed("router-0", after_seconds=killed_after_seconds))
    assert bool(found.lost) is excused
    assert bool(found.wrong) is not excused


@pytest.mark.parametrize("span", [whole()["e"], replace(whole()["e"], trace_id="0" * 31 + "1")])
async def test_a_span_that_comes_too_late_or_belongs_to_nobody_counts_against_the_share(span: EndedSpan) -> None:
    book = Book(Kills())
    book.began(seen())
    await book.take(list(whole().values()))
    book.judge(final=True)
    assert Report(book).share_percent == 100
    await book.take([span])
    assert Report(book).share_percent == 0
    assert "for example trace" in str(Report(book))


@pytest.mark.parametrize("lose", [lambda spans: None, lambda spans: spans.pop("7")])
async def test_the_share_is_that_of_the_true_ones(lose: Callable[[dict[str, EndedSpan]], object]) -> None:
    book, spans = Book(Kills()), whole()
    truth = not lose(spans)
    book.began(seen())
    await book.take(list(spans.values()))
    book.judge(final=True)
    assert Report(book).share_percent == Report(book).strict_share_percent == 100 * truth
