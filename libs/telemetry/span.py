"""A span that has ended, as a receiver sees it: plain data, free of OpenTelemetry's own types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

AttributeValue = str | bool | int | float | tuple[str | bool | int | float, ...]
Attributes = Mapping[str, AttributeValue]


class SpanKind(StrEnum):
    """Which side of a conversation a span is."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class SpanStatus(StrEnum):
    """How it ended, as far as anybody said."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened at a moment within a span."""

    name: str
    at_unix_nanos: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that this one has to do with, not its parent."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class EndedSpan:
    """Ids are lower-case hexadecimal; the parent's is empty for a root."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    service: str
    kind: SpanKind
    start_unix_nanos: int
    end_unix_nanos: int
    status: SpanStatus = SpanStatus.UNSET
    status_message: str = ""
    attributes: Attributes = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()

    @property
    def duration_ms(self) -> float:
        """Milliseconds from start to end."""
        return (self.end_unix_nanos - self.start_unix_nanos) / 1e6
