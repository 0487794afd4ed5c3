"""The sink: spans wait by trace until they are judged; then a count is all that stays of them."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from libs.telemetry.span import EndedSpan, SpanKind
from services.mesh.trace.render import plain_lines
from services.mesh.trace.tree import forest
from tests.truth.judge import Verdict, judge
from tests.truth.kills import Kills
from tests.truth.seen import Seen
from tests.truth.trace import kind

# Processes export every half second; what a request began in the background may end after it.
_RIPE_SECONDS = 4.0
# A busy machine exports late. A trace that is not whole by then is judged as it is.
_PATIENCE_SECONDS = 30.0


@dataclass(slots=True)
class Tally:
    """The requests of one ending. `faults` counts texts, `examples` has a trace of each, and `trees` shows those."""

    requests: int = 0
    whole: int = 0
    lost: int = 0
    wrong: int = 0
    # Traces with spans that came after their request was judged, or of no request: each is as bad as a wrong one.
    strays: set[str] = field(default_factory=set)
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    trees: dict[str, str] = field(default_factory=dict)

    def add(self, verdict: Verdict, spans: Sequence[EndedSpan]) -> None:
        self.requests += 1
        self.whole += verdict.whole
        self.wrong += bool(verdict.wrong)
        self.lost += bool(verdict.lost and not verdict.wrong)
        for each in verdict.wrong:
            self._fault(each, spans)

    def stray(self, text: str, span: EndedSpan) -> None:
        self.strays.add(span.trace_id)
        self._fault(text, [span])

    def _fault(self, text: str, spans: Sequence[EndedSpan]) -> None:
        self.faults[text] += 1
        if text not in self.examples:
            trace_id = self.examples[text] = spans[0].trace_id if spans else "none"
            self.trees[trace_id] = "\n".join(line for tree in forest(spans) for line in plain_lines(tree))


@dataclass(slots=True)
class _Open:
    seen: Seen
    spans: dict[str, EndedSpan] = field(default_factory=dict)


class Book:
    """Takes spans, and judges each request some time after its end."""

    def __init__(self, kills: Kills) -> None:
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self.spans = 0
        self._kills = kills
        self._open: dict[str, _Open] = {}
        # By trace: the ending that a request was judged as, so that a span which comes later is noticed; and the span
        # that stored its answer, for whoever is given that again. All that grows with the number of requests.
        self._judged: dict[str, str] = {}
        self._makers: dict[str, str] = {}

    def began(self, seen: Seen) -> None:
        """Before the request is sent: no span of it can come earlier."""
        self._open[seen.trace_id] = _Open(seen)

    async def take(self, spans: Sequence[EndedSpan]) -> None:
        for span in spans:
            self._take(span)

    def judge(self, *, final: bool = False) -> None:
        """Judges what is ripe; at last everything."""
        now = time.time_ns()
        for each in [each for each in self._open.values() if each.seen.ended_at]:
            age_seconds = (now - each.seen.ended_at) / 1e9
            if final or age_seconds >= _RIPE_SECONDS:
                self._judge(each, even_if_not_whole=final or age_seconds >= _PATIENCE_SECONDS)

    def _take(self, span: EndedSpan) -> None:
        self.spans += 1
        if span.kind is SpanKind.SERVER and kind(span) == "Fill":
            self._makers[span.trace_id] = span.span_id
        if span.trace_id in self._open:
            self._open[span.trace_id].spans[span.span_id] = span
            return
        ending = self._judged.get(span.trace_id)
        if ending is None:
            self.tallies["of no request"].stray(f"a trace of its own: {kind(span)} of {span.service}", span)
        else:
            self.tallies[ending].stray(f"too late: {kind(span)} of {span.service}", span)

    def _judge(self, each: _Open, *, even_if_not_whole: bool) -> None:
        seen = each.seen
        spans = list(each.spans.values())
        verdict = judge(seen, spans, self._kills, made_by=self._makers.get(seen.maker, ""))
        if not (verdict.whole or even_if_not_whole):
            return
        del self._open[seen.trace_id]
        self._judged[seen.trace_id] = verdict.ending
        self.tallies[verdict.ending].add(verdict, spans)
