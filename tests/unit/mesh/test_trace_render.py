"""A printed tree says who did what, for how long, and what went wrong."""

from __future__ import annotations

import io

from rich.console import Console

from libs.telemetry import names
from libs.telemetry.span import EndedSpan, SpanEvent, SpanLink, SpanStatus
from libs.testing.spans import TRACE_ID, ended_span
from services.mesh.trace.render import print_trees
from services.mesh.trace.tree import forest


def printed(*spans: EndedSpan, terminal: bool = False) -> str:
    out = io.StringIO()
    print_trees(forest(spans), console=Console(file=out, force_terminal=terminal, width=200, color_system="truecolor"))
    return out.getvalue()


def test_a_pipe_gets_one_line_a_span_with_guides() -> None:
    text = printed(
        ended_span("1", name="Generate", start_ms=100, duration_ms=50, attributes={names.REQUEST_ID: "req-1"}),
        ended_span("2", name="route", parent="1", start_ms=101, duration_ms=0.26),
        ended_span("3", name="chat small", parent="1", start_ms=110, duration_ms=30),
        ended_span("4", name="engine", service="inference", parent="3", start_ms=111, duration_ms=20),
    )
    assert text.splitlines() == [
        f"request req-1, trace {TRACE_ID}, 4 spans, 50.0 ms",
        "Generate  [router]  50.0 ms  +0.0 ms",
        "├─ route  [router]  0.3 ms  +1.0 ms",
        "└─ chat small  [router]  30.0 ms  +10.0 ms",
        "   └─ engine  [inference]  20.0 ms  +11.0 ms",
    ]


def test_a_line_in_a_pipe_is_never_wrapped_or_interpreted() -> None:
    name = "x" * 500 + " [red] :smile:"
    lines = printed(ended_span("1", name=name, status_message="m" * 90, status=SpanStatus.ERROR)).splitlines()
    assert len(lines) == 2
    assert "m" * 90 in lines[1]


def test_a_terminal_gets_colours_and_the_same_facts() -> None:
    text = printed(ended_span("1", name="route"), ended_span("2", name="engine", parent="1"), terminal=True)
    assert "\x1b[" in text
    assert all(fact in text for fact in ("route", "engine", "1.0 ms", "└── "))


def test_a_failed_span_says_why() -> None:
    attributes = {names.ERROR_TYPE: "ENGINE_DEAD", names.RPC_RESPONSE_STATUS_CODE: "UNAVAILABLE"}
    span = ended_span("1", status=SpanStatus.ERROR, status_message="the engine\ndied", attributes={**attributes})
    assert "✗ span 1" in printed(span)
    assert "FAILED: the engine died  UNAVAILABLE  error=ENGINE_DEAD" in printed(span)


def test_a_guard_says_which_rule_decided_what() -> None:
    verdicts = tuple(
        SpanEvent("verdict", 0, {names.GUARD_RULE: rule, names.GUARD_VERDICT: verdict})
        for rule, verdict in (("pii.email", "redact"), ("pattern.falcon", "block"))
    )
    text = printed(ended_span("1", name="guard.output", events=verdicts))
    assert "(rule=pii.email verdict=redact)" in text
    assert "(rule=pattern.falcon verdict=block)" in text


def test_an_orphan_says_that_its_parent_did_not_come() -> None:
    assert "(its parent 0000000000000009 did not come)" in printed(ended_span("2", parent="9"))


def test_telling_attributes_are_shown_and_others_are_not() -> None:
    text = printed(
        ended_span(
            "1",
            attributes={
                names.CACHE_VERDICT: "hit",
                names.CACHE_AGE_SECONDS: 1.23456,
                names.GEN_AI_RESPONSE_FINISH_REASONS: ("stop", "length"),
                names.KEY_ID: "ci",
            },
        )
    )
    assert "verdict=hit  age_s=1.235  finish=stop,length" in text
    assert "ci" not in text.split("age_s")[1]


def test_events_are_shown_with_their_moment_within_the_span() -> None:
    events = (
        SpanEvent(names.EVENT_CANDIDATE, int(101e6), {names.ROUTE_MODEL: "small", names.ROUTE_REASON: "cheapest"}),
        SpanEvent("exception", int(102e6), {"exception.stacktrace": "Traceback …"}),
    )
    text = printed(ended_span("1", start_ms=100, events=events))
    assert "• candidate +1.0 ms (model=small why=cheapest)  • exception +2.0 ms\n" in text


def test_of_many_events_the_first_are_shown_and_the_rest_counted() -> None:
    text = printed(ended_span("1", events=tuple(SpanEvent(f"e{number}", 0) for number in range(9))))
    assert "• e5 +0.0 ms  • and 3 more events" in text


def test_a_link_names_the_other_span() -> None:
    assert "→ span ab of trace cd" in printed(ended_span("1", links=(SpanLink("cd", "ab"),)))


def test_no_text_of_a_span_can_steer_the_terminal() -> None:
    text = printed(ended_span("1", name="chat \x1b[2J", attributes={names.GEN_AI_RESPONSE_MODEL: "\x07\u202e"}))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
