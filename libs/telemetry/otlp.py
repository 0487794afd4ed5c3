"""Where spans go: an OTLP/gRPC collector, dialled so that its absence costs nothing but its spans."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from libs.address import is_local

# One batch's time, retries included. Longer would let the queue overflow behind a collector that is away.
EXPORT_TIMEOUT_SECONDS = 5.0
# These warn of every retry, every batch and every dropped span; ReportedExporter says it once an outage.
_NOISY_LOGGERS = ("opentelemetry.exporter.otlp.proto.grpc.exporter", "opentelemetry.sdk._shared_internal")


@dataclass(frozen=True, slots=True)
class OtlpTarget:
    """A collector's address (`host:port` or `unix:/path`) and, for TLS, the PEM file of the authority to trust.

    Spans name keys, users and models: without TLS they do not leave this machine. ValueError otherwise.
    """

    address: str
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if self.ca_file is None and not is_local(self.address):
            raise ValueError(
                f"telemetry: {self.address} is not on this machine and no CA file is given; spans leave it"
                " over TLS only: set telemetry.otlp_tls_ca_file, or run a collector on loopback"
            )

    def exporter(self) -> SpanExporter:
        """Connects lazily; OSError names a CA file that cannot be read."""
        for name in _NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        credentials = None
        if self.ca_file is not None:
            credentials = grpc.ssl_channel_credentials(Path(self.ca_file).read_bytes())
        inner = OTLPSpanExporter(
            endpoint=self.address,
            insecure=credentials is None,
            credentials=credentials,
            timeout=EXPORT_TIMEOUT_SECONDS,
        )
        return ReportedExporter(inner, address=self.address)


class ReportedExporter(SpanExporter):
    """Logs once when its collector goes away and once when it is back, whatever lies between."""

    def __init__(self, inner: SpanExporter, *, address: str) -> None:
        self._inner = inner
        self._address = address
        self._away = False
        self._lost_spans = 0
        self._log = structlog.get_logger("telemetry")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._returned()
        else:
            self._failed(len(spans))
        return result

    def _failed(self, spans: int) -> None:
        self._lost_spans += spans
        if not self._away:
            self._away = True
            self._log.warning("collector unreachable, spans are dropped", collector=self._address)

    def _returned(self) -> None:
        if self._away:
            self._log.info("collector reachable again", collector=self._address, lost_spans=self._lost_spans)
        self._away, self._lost_spans = False, 0

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)
