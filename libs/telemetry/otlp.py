"""Where spans go: an OTLP collector, by gRPC or HTTP, dialled so that its absence costs nothing but its spans."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import grpc
import structlog
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from libs.address import is_local
from libs.settings.schema import Telemetry
from libs.telemetry.otlp_headers import otlp_headers

# One batch's time, retries included. Longer would let the queue overflow behind a collector that is away.
EXPORT_TIMEOUT_SECONDS = 5.0
TRACES_PATH = "/v1/traces"
# These warn of every retry, every batch and every dropped span; ReportedExporter says it once an outage.
_NOISY_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
)


@dataclass(frozen=True, slots=True)
class OtlpTarget:
    """A collector: `host:port`, or `unix:/path` for gRPC. For TLS the PEM file of the authority to trust, and where the
    collector asks for one (mTLS) our own certificate and its key. Headers go with each batch.

    Spans name keys, users and models: without TLS they do not leave this machine. ValueError otherwise.
    """

    address: str
    ca_file: str | None = None
    protocol: Literal["grpc", "http"] = "grpc"
    http_path: str = TRACES_PATH
    certificate_file: str | None = None
    key_file: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.ca_file is None and not is_local(self.address):
            raise ValueError(
                f"telemetry: {self.address} is not on this machine and no CA file is given; spans leave it"
                " over TLS only: set telemetry.otlp_tls_ca_file, or run a collector on loopback"
            )
        if self.protocol == "http" and self.address.startswith("unix:"):
            raise ValueError(
                f"telemetry: {self.address} is a unix socket, and OTLP over HTTP needs HOST:PORT:"
                " set telemetry.otlp_protocol to grpc, or give a port"
            )
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError(
                "telemetry: a certificate for the collector needs its key, and a key its certificate:"
                " set both telemetry.otlp_tls_certificate_file and telemetry.otlp_tls_key_file, or neither"
            )
        if self.certificate_file is not None and self.ca_file is None:
            raise ValueError(
                "telemetry: a certificate for the collector is given and no CA file to know the collector by:"
                " set telemetry.otlp_tls_ca_file"
            )

    @classmethod
    def of(cls, telemetry: Telemetry, *, environment: Mapping[str, str]) -> Self | None:
        """The configured one; None where there is none. ValueError and OSError say what is wrong with it."""
        if telemetry.otlp_endpoint is None:
            return None
        return cls(
            telemetry.otlp_endpoint,
            telemetry.otlp_tls_ca_file,
            protocol=telemetry.otlp_protocol,
            http_path=telemetry.otlp_http_path,
            certificate_file=telemetry.otlp_tls_certificate_file,
            key_file=telemetry.otlp_tls_key_file,
            headers=otlp_headers(
                variable=telemetry.otlp_headers_env, file=telemetry.otlp_headers_file, environment=environment
            ),
        )

    def exporter(self) -> SpanExporter:
        """Connects lazily; OSError names a file that cannot be read."""
        return ReportedExporter(self.silent_exporter(), address=self.address)

    def silent_exporter(self) -> SpanExporter:
        """The same, without a word in the log: for whoever looks at the result of each export."""
        for name in _NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        return self._over_http() if self.protocol == "http" else self._over_grpc()

    def _over_grpc(self) -> SpanExporter:
        authority, key, certificate = map(_contents, (self.ca_file, self.key_file, self.certificate_file))
        credentials = grpc.ssl_channel_credentials(authority, key, certificate) if authority else None
        return OTLPSpanExporter(
            endpoint=self.address,
            insecure=credentials is None,
            credentials=credentials,
            headers=dict(self.headers),
            timeout=EXPORT_TIMEOUT_SECONDS,
        )

    def _over_http(self) -> SpanExporter:
        from libs.telemetry.otlp_http import http_exporter  # noqa: PLC0415 # see there

        for file in (self.ca_file, self.key_file, self.certificate_file):
            _contents(file)  # now, and not with the first batch
        scheme = "http" if self.ca_file is None else "https"
        certificate = (self.certificate_file, self.key_file) if self.certificate_file and self.key_file else None
        return http_exporter(
            f"{scheme}://{self.address}{self.http_path}",
            ca_file=self.ca_file,
            certificate=certificate,
            headers=self.headers,
            timeout_seconds=EXPORT_TIMEOUT_SECONDS,
        )


def _contents(file: str | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


class ReportedExporter(SpanExporter):
    """Logs once when its collector goes away and once when it is back, whatever lies between."""

    def __init__(self, inner: SpanExporter, *, address: str) -> None:
        self._inner = inner
        self._address = address
        self._away = False
        self._lost_spans = 0
        self._log = structlog.get_logger("telemetry")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception:  # the SDK would log it, to a logger that is silenced above
            result = SpanExportResult.FAILURE
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
