"""Where traces go: whether the collector is there, is who it should be, and takes what it is sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from typing import ClassVar

from opentelemetry.sdk.trace.export import SpanExportResult

from libs.telemetry.otlp import OtlpTarget
from services.mesh.doctor.finding import Finding, ok, skipped, wrong
from services.mesh.doctor.patient import Patient

_CONNECT_SECONDS = 3.0
_CURE = "start it, or let telemetry.otlp_endpoint name where it is"
_PORTS = "let telemetry.otlp_endpoint and otlp_protocol name its OTLP port: 4317 for grpc, 4318 for http, by custom"


def check(patient: Patient) -> Collector:
    if patient.settings is None:
        return Collector(target=None)
    try:
        return Collector(target=OtlpTarget.of(patient.settings.telemetry, environment=patient.environment))
    except (ValueError, OSError) as error:
        return Collector(target=None, mistake=str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """`target` as the services have it; None where none is configured, or there is a `mistake`."""

    name: ClassVar[str] = "collector"
    limit_seconds: ClassVar[float] = 15
    target: OtlpTarget | None
    mistake: str = ""

    async def findings(self) -> AsyncIterator[Finding]:
        if self.mistake:
            yield wrong("target", self.mistake, cure="mend telemetry.otlp_… of the configuration, or the file it names")
            return
        if self.target is None:
            yield skipped("target", "none is configured: traces stay in the embedded store (tokenway trace)")
            return
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await _connect(self.target)
        except TimeoutError:
            yield wrong(
                "target", f"{self.target.address} takes no connection within {_CONNECT_SECONDS:g} s", cure=_CURE
            )
            return
        except ssl.SSLError as error:
            says = f"{self.target.address}: TLS fails: {getattr(error, 'verify_message', '') or error.reason}"
            yield wrong(
                "target", says, cure="let telemetry.otlp_tls_ca_file name its authority; or its name be dialled"
            )
            return
        except OSError as error:
            yield wrong("target", f"{self.target.address}: {error}", cure=_CURE)
            return
        yield await _export(self.target)


async def _connect(target: OtlpTarget) -> None:
    if target.address.startswith("unix:"):
        _, writer = await asyncio.open_unix_connection(target.address.removeprefix("unix:").removeprefix("//"))
    else:
        host, _, port = target.address.rpartition(":")
        _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=_tls(target))
    # Not waited for: one that is gone does not say goodbye.
    with closing(writer.transport):
        pass


def _tls(target: OtlpTarget) -> ssl.SSLContext | None:
    if target.ca_file is None:
        return None
    context = ssl.create_default_context(cafile=target.ca_file)
    context.set_alpn_protocols(["h2" if target.protocol == "grpc" else "http/1.1"])
    if target.certificate_file is not None:
        context.load_cert_chain(target.certificate_file, target.key_file)
    return context


async def _export(target: OtlpTarget) -> Finding:
    try:
        result = await asyncio.to_thread(target.silent_exporter().export, ())
    except Exception as error:  # some failures of HTTP the exporter lets through: a redirect
        return wrong("target", f"{target.address} refuses an empty export: {error}", cure=_PORTS)
    if result is SpanExportResult.SUCCESS:
        return ok("target", f"{target.address} took an empty export")
    says = f"{target.address} takes connections, and no export: it wants other headers, is no OTLP collector, or hangs"
    return wrong("target", says, cure=_PORTS)
