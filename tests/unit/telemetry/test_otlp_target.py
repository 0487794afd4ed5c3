"""Both protocols against a real sink: plaintext, TLS, certificates on both sides, headers; and sinks that misbehave."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.rpc.tls import Tls
from libs.settings.schema import Telemetry
from libs.telemetry import otlp
from libs.telemetry.otlp import OtlpTarget
from libs.telemetry.tracing import shut_down, tracer_provider
from libs.testing.certificates import Authority, authority
from libs.testing.otlp import SpanCollector, http_span_collector, span_collector
from tests.openssl import needs_openssl

PROTOCOLS = ("grpc", "http")
AWAY = "127.0.0.1:9"  # discard: a port that no program takes


def sink(protocol: str, tls: Tls | None = None) -> AbstractAsyncContextManager[SpanCollector]:
    return span_collector(tls=tls) if protocol == "grpc" else http_span_collector(tls=tls)


async def export(target: OtlpTarget, *, timeout_seconds: float = 3) -> bool:
    """One span on its way; whether everything was sent in time."""
    provider = tracer_provider("router", endpoints=[target], sampling_ratio=1, instance_id="router-1")
    provider.get_tracer("test").start_span("route").end()
    return await asyncio.to_thread(shut_down, provider, timeout_seconds=timeout_seconds)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("strangers"), "strangers")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too short for a second try, so that tests of failure need not wait for it."""
    monkeypatch.setattr(otlp, "EXPORT_TIMEOUT_SECONDS", 0.5)


def over(protocol: Any, collector: SpanCollector, **fields: Any) -> OtlpTarget:
    return OtlpTarget(collector.address, protocol=protocol, **fields)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_span_arrives_with_the_configured_headers(protocol: str) -> None:
    async with sink(protocol) as collector:
        assert await export(over(protocol, collector, headers={"authorization": "Bearer canary"}))
        [span] = collector.spans
    assert (span.name, span.service) == ("route", "router")
    assert collector.headers["authorization"] == "Bearer canary"


async def test_a_collector_behind_another_path_is_found() -> None:
    async with http_span_collector() as collector:
        assert await export(over("http", collector, http_path="/otlp/v1/traces"))
    assert collector.headers["path"] == "/otlp/v1/traces"


@needs_openssl
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_span_arrives_over_tls_at_a_collector_of_our_authority(protocol: str, ours: Authority) -> None:
    async with sink(protocol, ours.tls("collector", mutual=False)) as collector:
        assert await export(over(protocol, collector, ca_file=str(ours.certificate)))
        assert [span.name for span in collector.spans] == ["route"]


@needs_openssl
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_collector_that_asks_for_a_certificate_gets_ours(protocol: str, ours: Authority) -> None:
    tls = ours.tls("router")
    mutual = {"ca_file": tls.ca_file, "certificate_file": tls.certificate_file, "key_file": tls.key_file}
    async with sink(protocol, ours.tls("collector")) as collector:
        assert await export(over(protocol, collector, **mutual))
        assert [span.name for span in collector.spans] == ["route"]


@needs_openssl
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("flaw", ["a stranger's collector", "no certificate of ours", "another host's certificate"])
async def test_no_span_goes_where_the_certificates_are_wrong(
    protocol: str, flaw: str, ours: Authority, strangers: Authority, impatient: None
) -> None:
    collectors = {
        "a stranger's collector": strangers.tls("collector", mutual=False),
        "no certificate of ours": ours.tls("collector"),
        "another host's certificate": ours.tls("elsewhere", names="DNS:elsewhere.example", mutual=False),
    }
    with capture_logs() as lines:
        async with sink(protocol, collectors[flaw]) as collector:
            await export(over(protocol, collector, ca_file=str(ours.certificate)))
            assert collector.spans == []
    assert [line["event"] for line in lines] == ["collector unreachable, spans are dropped"]


@asynccontextmanager
async def misbehaving(how: str) -> AsyncIterator[OtlpTarget]:
    if how.endswith("away"):
        yield OtlpTarget(AWAY, protocol="grpc" if how.startswith("grpc") else "http")
        return
    if how == "grpc hangs":
        with socket.create_server(("127.0.0.1", 0)) as nobody_accepts:
            yield OtlpTarget(f"127.0.0.1:{nobody_accepts.getsockname()[1]}")
        return
    status = None if how == "http hangs" else int(how.split()[1])
    async with http_span_collector(status=status) as collector:
        yield over("http", collector)


@pytest.mark.parametrize(
    "how", ["grpc away", "grpc hangs", "http away", "http hangs", "http 302", "http 401", "http 429", "http 503"]
)
async def test_a_collector_that_misbehaves_costs_its_spans_one_line_and_no_time_at_the_end(
    how: str, impatient: None
) -> None:
    with capture_logs() as lines:
        async with misbehaving(how) as target:
            provider = tracer_provider("router", endpoints=[target], sampling_ratio=1, instance_id="router-1")
            for _ in range(1_000):  # two batches
                provider.get_tracer("test").start_span("route").end()
            began = time.perf_counter()
            assert await asyncio.to_thread(shut_down, provider, timeout_seconds=60)
            assert time.perf_counter() - began < 10
    assert [line["event"] for line in lines] == ["collector unreachable, spans are dropped"]


async def test_the_environment_neither_redirects_nor_authorizes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://{AWAY}")
    async with http_span_collector() as collector:
        assert await export(over("http", collector, headers={"authorization": "Bearer ours"}))
        assert [span.name for span in collector.spans] == ["route"]
    assert collector.headers["authorization"] == "Bearer ours"


REMOTE = Telemetry(otlp_endpoint="otel.example:4317", otlp_tls_ca_file="ca.pem", otlp_headers_env="HEADERS")


def test_the_configured_collector_has_its_headers_from_the_environment() -> None:
    target = OtlpTarget.of(REMOTE, environment={"HEADERS": "Authorization=Bearer%20canary, x-tenant=7"})
    assert target is not None
    assert target.headers == {"authorization": "Bearer canary", "x-tenant": "7"}
    assert "canary" not in repr(target)


def test_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("authorization=Bearer canary\nx-tenant=7\n")
    telemetry = REMOTE.model_copy(update={"otlp_headers_env": None, "otlp_headers_file": str(file)})
    target = OtlpTarget.of(telemetry, environment={})
    assert target is not None
    assert target.headers == {"authorization": "Bearer canary", "x-tenant": "7"}


def test_no_collector_is_none() -> None:
    assert OtlpTarget.of(Telemetry(), environment={}) is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "are to be in the variable HEADERS, and there are none"),
        ({"HEADERS": "x=1,hunter2"}, "header 2 in the variable HEADERS is not name=value"),
        ({"HEADERS": "x=1,hunter2: canary"}, "header 2 in the variable HEADERS is not name=value"),
        ({"HEADERS": "x=hunter2%0D%0Ay: z"}, "the value of header 1 in the variable HEADERS has characters"),
    ],
)
def test_headers_that_are_wrong_are_told_and_not_repeated(environment: Mapping[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        OtlpTarget.of(REMOTE, environment=environment)
    assert "hunter2" not in str(caught.value)


def test_a_file_of_headers_that_is_not_there_is_named() -> None:
    telemetry = REMOTE.model_copy(update={"otlp_headers_env": None, "otlp_headers_file": "/nowhere"})
    with pytest.raises(ValueError, match=r"otlp_headers_file /nowhere cannot be read \(FileNotFoundError\)"):
        OtlpTarget.of(telemetry, environment={})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"address": "unix:/run/otlp.sock", "protocol": "http"},
            "is a unix socket, and OTLP over HTTP needs HOST:PORT",
        ),
        ({"certificate_file": "c.pem"}, "needs its key"),
        ({"key_file": "k.pem"}, "needs its key"),
        ({"certificate_file": "c.pem", "key_file": "k.pem"}, "no CA file to know the collector by"),
        ({"address": "otel.example:4318", "protocol": "http"}, "not on this machine and no CA file"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(OtlpTarget("localhost:4317"), **fields)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_key_file_that_is_not_there_is_named(protocol: Any, tmp_path: Path) -> None:
    ca, certificate = tmp_path / "ca.pem", tmp_path / "tls.pem"
    for each in (ca, certificate):
        each.write_text("any text")
    target = OtlpTarget(
        "otel.example:1",
        ca_file=str(ca),
        protocol=protocol,
        certificate_file=str(certificate),
        key_file="nowhere.pem",
    )
    with pytest.raises(OSError, match=r"nowhere\.pem"):
        target.exporter()
