"""Collectors: one that takes, none, one that hangs, one that is no collector, one behind certificates."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.telemetry import otlp
from libs.telemetry.otlp import OtlpTarget
from libs.testing.certificates import authority
from libs.testing.otlp import http_span_collector, span_collector
from services.mesh.doctor.collector import Collector, check
from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.patient import Patient
from services.mesh.state_directory import StateDirectory
from tests.openssl import needs_openssl
from tests.unit.mesh.doctor.found import all_of
from tests.unit.settings.documents import written


async def judged(target: OtlpTarget | None) -> Finding:
    (found,) = await all_of(Collector(target=target))
    return found


@asynccontextmanager
async def listening(answer: bytes = b"", *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that accepts, says one thing or nothing, and never more."""
    over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await over.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        over.set()
        server.close()


async def test_one_that_takes_an_export_is_well() -> None:
    async with span_collector() as collector:
        found = await judged(OtlpTarget(collector.address))
    assert (found.verdict, found.says) == (Verdict.OK, f"{collector.address} took an empty export")
    assert collector.spans == []


@pytest.mark.parametrize(("status", "verdict"), [(200, Verdict.OK), (401, Verdict.WRONG), (302, Verdict.WRONG)])
async def test_one_by_http_is_asked_by_http(status: int, verdict: Verdict) -> None:
    async with http_span_collector(status=status) as collector:
        found = await judged(OtlpTarget(collector.address, protocol="http", headers={"authorization": "Bearer secret"}))
    assert found.verdict is verdict
    assert "secret" not in str(found)
    assert collector.headers["authorization"] == "Bearer secret"


async def test_what_is_wrong_with_its_configuration_is_said(tmp_path: Path) -> None:
    settings = written(f"telemetry: {{otlp_endpoint: '127.0.0.1:1', otlp_headers_file: {tmp_path}/none}}\n")
    patient = Patient(
        file=tmp_path, state=StateDirectory(tmp_path), environment={}, default_model=tmp_path, settings=settings
    )
    (found,) = await all_of(check(patient))
    assert found.verdict is Verdict.WRONG
    assert f"{tmp_path}/none" in found.says


async def test_none_is_no_mistake() -> None:
    assert (await judged(None)).verdict is Verdict.SKIPPED


async def test_one_that_is_not_there_is_said() -> None:
    found = await judged(OtlpTarget("127.0.0.1:1"))
    assert found.verdict is Verdict.WRONG
    assert "Connect call failed" in found.says


async def test_one_that_accepts_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "EXPORT_TIMEOUT_SECONDS", 0.5)
    async with listening() as address:
        found = await judged(OtlpTarget(address))
    assert found.says.startswith(f"{address} takes connections, and no export: ")


async def test_one_that_speaks_something_else_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "EXPORT_TIMEOUT_SECONDS", 0.5)
    async with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        assert (await judged(OtlpTarget(address))).verdict is Verdict.WRONG


@needs_openssl
async def test_one_that_shows_a_strangers_certificate_is_not_trusted(tmp_path: Path) -> None:
    for name in ("ours", "strangers"):
        (tmp_path / name).mkdir()
    strangers = authority(tmp_path / "strangers", "strangers").tls("collector")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(strangers.certificate_file, strangers.key_file)
    async with listening(tls=tls) as address:
        found = await judged(OtlpTarget(address, str(authority(tmp_path / "ours", "ours").certificate)))
    assert (found.verdict, found.cure.partition(" ")[0]) == (Verdict.WRONG, "let")
    assert "TLS fails: " in found.says
