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


def check(patient: Patient) -> Collector:
    telemetry = patient.settings.telemetry if patient.settings else None
    if telemetry is None or telemetry.otlp_endpoint is None:
        return Collector(target=None)
    return Collector(target=OtlpTarget(telemetry.otlp_endpoint, telemetry.otlp_tls_ca_file))


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """`target` as the services have it; None where none is configured."""

    name: ClassVar[str] = "collector"
    limit_seconds: ClassVar[float] = 15
    target: OtlpTarget | None

    async def findings(self) -> AsyncIterator[Finding]:
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


_CURE = "start it, or let telemetry.otlp_endpoint name where it is"


async def _connect(target: OtlpTarget) -> None:
    if target.address.startswith("unix:"):
        _, writer = await asyncio.open_unix_connection(target.address.removeprefix("unix:").removeprefix("//"))
    else:
        host, _, port = target.address.rpartition(":")
        tls = ssl.create_default_context(cafile=target.ca_file) if target.ca_file else None
        if tls:
            tls.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls)
    # Not waited for: one that is gone does not say goodbye.
    with closing(writer.transport):
        pass


async def _export(target: OtlpTarget) -> Finding:
    exporter = target.exporter()
    result = await asyncio.to_thread(exporter.export, ())
    if result is SpanExportResult.SUCCESS:
        return ok("target", f"{target.address} took an empty export")
    says = f"{target.address} takes connections, and no export: it is no OTLP collector, or it hangs"
    return wrong("target", says, cure="let telemetry.otlp_endpoint name its OTLP port: 4317 for gRPC, by custom")
