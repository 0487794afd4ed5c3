"""An outage of the collector is told once, however long it lasts."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs

from libs.telemetry.otlp import ReportedExporter

SPANS = [ReadableSpan("one"), ReadableSpan("two")]


class ScriptedExporter(SpanExporter):
    """Succeeds and fails as told."""

    def __init__(self, *successes: bool | Exception) -> None:
        self._successes = list(successes)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._successes.pop(0)
        if isinstance(result, Exception):
            raise result
        return SpanExportResult.SUCCESS if result else SpanExportResult.FAILURE


def lines_of(*successes: bool | Exception) -> list[str]:
    with capture_logs() as lines:
        exporter = ReportedExporter(ScriptedExporter(*successes), address="localhost:4317")
        for _ in successes:
            exporter.export(SPANS)
    return [f"{line['log_level']}: {line['event']} {line.get('lost_spans', '')}".strip() for line in lines]


def test_an_outage_and_its_end_are_one_line_each() -> None:
    assert lines_of(True, False, ValueError("a bug of the exporter"), False, True, True) == [
        "warning: collector unreachable, spans are dropped",
        "info: collector reachable again 6",
    ]


def test_a_second_outage_is_told_again_and_counted_anew() -> None:
    assert lines_of(False, True, False, True)[2:] == [
        "warning: collector unreachable, spans are dropped",
        "info: collector reachable again 2",
    ]


def test_a_collector_that_is_there_is_not_worth_a_line() -> None:
    assert lines_of(True, True) == []
