"""The newest traces, in one SQLite file that another process may read while this one writes."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from libs.telemetry import names
from libs.telemetry.span import Attributes, EndedSpan, SpanEvent, SpanKind, SpanLink, SpanStatus

# `seq` orders traces by the arrival of their first span: clocks of services differ, arrival here does not.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS traces (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, trace_id TEXT NOT NULL UNIQUE, spans INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS spans (
    trace INTEGER NOT NULL, span_id TEXT NOT NULL, request_id TEXT, body TEXT NOT NULL, PRIMARY KEY (trace, span_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS spans_request ON spans (request_id) WHERE request_id IS NOT NULL;
"""
_OF_TRACE = "SELECT body FROM spans JOIN traces ON seq = trace WHERE trace_id = ?"
_OF_REQUEST = "SELECT body FROM spans WHERE trace IN (SELECT trace FROM spans WHERE request_id = ?)"
_NEWEST_REQUESTS = (
    "SELECT request_id FROM spans WHERE request_id IS NOT NULL GROUP BY request_id ORDER BY MAX(trace) DESC LIMIT ?"
)
# The oldest that stays is the max_traces-th newest.
_OLDEST_KEPT = "SELECT seq FROM traces ORDER BY seq DESC LIMIT 1 OFFSET ?"


class TraceStore:
    """Keeps the newest `max_traces` traces, and of each the first `max_spans_per_trace` spans.

    A caller that puts all its requests under one trace would else grow it for ever. Belongs to one thread.
    """

    def __init__(
        self, database: sqlite3.Connection, *, max_traces: int = 10_000, max_spans_per_trace: int = 5_000
    ) -> None:
        self._database = database
        self._max_traces = max_traces
        self._max_spans_per_trace = max_spans_per_trace

    @classmethod
    def create(cls, path: Path, **limits: int) -> Self:
        """For the one writer; makes folder and file. Whoever may read traces may read who asked what: 0700."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = sqlite3.connect(path)
        # A crash of the machine may cost the last traces, never the file; and nobody waits for a disk.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
        return cls(database, **limits)

    @classmethod
    def read(cls, path: Path) -> Self:
        """For readers, while the writer writes. FileNotFoundError when nothing was ever stored there."""
        if not path.exists():
            raise FileNotFoundError(f"no traces at {path}: start the mesh and send a request first")
        return cls(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, spans: Sequence[EndedSpan]) -> None:
        """All or none, in one transaction. A span that is there already stays as it is."""
        of_trace: dict[str, list[EndedSpan]] = defaultdict(list)
        for span in spans:
            of_trace[span.trace_id].append(span)
        with self._database:
            for trace_id, its_spans in of_trace.items():
                self._add_to(trace_id, its_spans)
            self._forget_oldest()

    def of_trace(self, trace_id: str) -> list[EndedSpan]:
        """Its spans in no order; empty when it is unknown or forgotten."""
        return self._select(_OF_TRACE, trace_id.lower())

    def of_request(self, request_id: str) -> list[EndedSpan]:
        """All spans of every trace that the request left: two, if one was made late."""
        return self._select(_OF_REQUEST, request_id)

    def newest_requests(self, most: int) -> list[str]:
        """The ids of the last requests that came, the newest first."""
        return [request_id for (request_id,) in self._database.execute(_NEWEST_REQUESTS, (most,))]

    def _add_to(self, trace_id: str, spans: Sequence[EndedSpan]) -> None:
        self._database.execute("INSERT OR IGNORE INTO traces (trace_id) VALUES (?)", (trace_id,))
        row = self._database.execute("SELECT seq, spans FROM traces WHERE trace_id = ?", (trace_id,))
        trace, held = row.fetchone()
        room = max(0, self._max_spans_per_trace - held)
        added = self._database.executemany(
            "INSERT OR IGNORE INTO spans VALUES (?, ?, ?, ?)", [_row(trace, span) for span in spans[:room]]
        ).rowcount
        self._database.execute("UPDATE traces SET spans = spans + ? WHERE seq = ?", (added, trace))

    def _forget_oldest(self) -> None:
        oldest = self._database.execute(_OLDEST_KEPT, (self._max_traces - 1,)).fetchone()
        if oldest:
            self._database.execute("DELETE FROM spans WHERE trace < ?", oldest)
            self._database.execute("DELETE FROM traces WHERE seq < ?", oldest)

    def _select(self, statement: str, key: str) -> list[EndedSpan]:
        return [_span(json.loads(body)) for (body,) in self._database.execute(statement, (key,))]


def _row(trace: int, span: EndedSpan) -> tuple[int, str, str | None, str]:
    request_id = span.attributes.get(names.REQUEST_ID)
    body = json.dumps(asdict(span), separators=(",", ":"))
    return trace, span.span_id, None if request_id is None else str(request_id), body


def _span(body: dict[str, Any]) -> EndedSpan:
    body["kind"] = SpanKind(body["kind"])
    body["status"] = SpanStatus(body["status"])
    body["attributes"] = _attributes(body["attributes"])
    body["events"] = tuple(
        SpanEvent(each["name"], each["at_unix_nanos"], _attributes(each["attributes"])) for each in body["events"]
    )
    body["links"] = tuple(SpanLink(**each) for each in body["links"])
    return EndedSpan(**body)


def _attributes(stored: Mapping[str, Any]) -> Attributes:
    """JSON has lists where a span has tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
