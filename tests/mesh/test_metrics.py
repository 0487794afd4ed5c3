"""What the running services export: under the names and labels that their READMEs list, and nothing a caller wrote."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from libs.errors import Reason, TokenwayError
from libs.telemetry import names
from services.budget.domain.receipt import Outcome
from services.cache.domain.lexical_guard.guard import Objection
from services.cache.domain.stats import FillResult, FlightEvent, SemanticResult, Verdict
from services.mesh.client.router import RouterAddress, connected
from tests.mesh.in_process import KEY, ORGANISATION, question, settings
from tests.mesh.processes import processes
from tokenway.client.router import RouterClient

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
SERVICES = {"router": "router", "cache": "cache", "budget": "budget", "small-0": "inference"}
FOREIGN = ("python_", "process_")
NAMES = {value for name, value in vars(names).items() if name.startswith("METRIC_")}
TABLE = re.compile(r"^\| metric \|.*?(?=^$|\Z)", re.MULTILINE | re.DOTALL)
LISTED = re.compile(r"^\| `([a-z_]+)(?:\{([a-z_,]+)\})?` \|", re.MULTILINE)
# What callers wrote; none of it may be a label.
STRANGE = ("no-such-model-7f3a", "prompt-7f3a", "request-7f3a", ORGANISATION, KEY)
REASONS = {each.lower() for each in Reason}
BOUNDED: Mapping[str, set[str]] = {
    "model": {"small"},
    "gen_ai_request_model": {"small"},
    "gen_ai_operation_name": {names.OPERATION_CHAT},
    "gen_ai_provider_name": {names.PROVIDER_TOKENWAY},
    "gen_ai_token_type": {"input", "output"},
    "error_type": {"", *Reason},
    "type": {"input", "output"},
    "status": {"success", "error"},
    "code": {each.name for each in grpc.StatusCode},
    "service": {"cache", "budget", "inference"},
    "reason": REASONS,
    "result": REASONS | set(FillResult) | set(SemanticResult) | {"begun", "done", "failed"},
    "decision": REASONS | {"part", "whole", "admitted"},
    "kind": set(Objection),
    "verb": {"reserve", "extend"},
    "outcome": {each.lower() for each in Outcome},
    "verdict": set(Verdict),
    "event": set(FlightEvent),
}


Scraped = Mapping[str, Sequence[Metric]]


async def test_the_services_export_what_their_readmes_list_and_no_label_that_a_caller_wrote(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scraped = await scraped_after_requests(redis_url, tmp_path_factory.mktemp("tw"))
    everywhere = listed(ROOT / "libs/telemetry/README.md")
    for service, metrics in scraped.items():
        assert_as_documented(metrics, everywhere | listed(ROOT / f"services/{service}/README.md"))
        assert_bounded(metrics)
    assert_counted(scraped)
    assert_slow_buckets_lead_to_traces(scraped["router"])


async def scraped_after_requests(redis_url: str, folder: Path) -> Scraped:
    """What each service exports after an answer, a hit, a broken answer, and a request for no model of ours."""
    async with processes(settings(folder, redis_url), folder) as started:
        async with connected(RouterAddress(f"unix:{folder}/router.sock", KEY)) as client:
            for text in ("again", "again", f"{STRANGE[1]} [[fault:cut_after=2]]"):
                await ask(client, text)
            await ask(client, "hello", model=STRANGE[0])
        return {name: await scrape(started[process].metrics_address) for process, name in SERVICES.items()}


async def ask(client: RouterClient, text: str, **fields: Any) -> None:
    request = question(text, labels={"id": STRANGE[2]}, **fields)
    with suppress(TokenwayError):
        async with client.stream_generate(request, timeout_seconds=10) as stream:
            async for _ in stream:
                pass


async def scrape(address: str) -> list[Metric]:
    """As Prometheus does that keeps exemplars."""
    request = urllib.request.Request(
        f"http://{address}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    body = await asyncio.to_thread(lambda: urllib.request.urlopen(request).read().decode())  # noqa: S310 # it is http
    families = text_string_to_metric_families(body)  # type: ignore[no-untyped-call] # of the library, untyped
    return [each for each in families if not each.name.startswith(FOREIGN)]


def series(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def listed(readme: Path) -> dict[str, set[str]]:
    """Metrics of a README's table with their labels."""
    table = TABLE.search(readme.read_text())
    assert table, f"{readme} has no table of metrics"
    return {name: set(filter(None, labels.split(","))) for name, labels in LISTED.findall(table[0])}


def labels_of(metrics: Iterable[Metric]) -> Iterable[tuple[str, str]]:
    for metric in metrics:
        for sample in metric.samples:
            yield from ((name, value) for name, value in sample.labels.items() if name != "le")


def assert_as_documented(metrics: Sequence[Metric], documented: Mapping[str, set[str]]) -> None:
    assert {series(each) for each in metrics} == documented.keys()
    assert documented.keys() <= NAMES
    for metric in metrics:
        for sample in metric.samples:
            assert sample.labels.keys() - {"le"} == documented[series(metric)], sample


def assert_bounded(metrics: Sequence[Metric]) -> None:
    for name, value in labels_of(metrics):
        if name == "method":
            assert value.startswith(("tokenway.", "grpc.health.v1."))
        else:
            assert value in BOUNDED[name], f"{name}={value!r}"
        assert not any(each in value for each in STRANGE)


def assert_counted(scraped: Scraped) -> None:
    def value(service: str, name: str, /, **labels: str) -> float:
        samples = [sample for metric in scraped[service] for sample in metric.samples]
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())

    assert value("router", "llm_requests_total", status="success") == 2
    assert value("router", "tokenway_overhead_seconds_count", model="small") == 3
    assert value("router", "tokenway_attempts_total", model="small", result="begun") == 2
    assert value("router", "tokenway_requests_refused_total", reason="invalid_request") == 1
    generate = "tokenway.inference.v1.InferenceService/Generate"
    assert value("router", "tokenway_rpc_client_requests_total", service="inference", method=generate, code="OK") == 1
    assert value("inference", "gen_ai_server_request_duration_seconds_count", error_type="") == 1
    assert value("inference", "gen_ai_server_request_duration_seconds_count", error_type="STREAM_BROKEN") == 1
    # Of the service that started first: the last may not have run a timer yet.
    assert value("budget", "tokenway_event_loop_lag_seconds_count") > 0


def assert_slow_buckets_lead_to_traces(metrics: Sequence[Metric]) -> None:
    (latency,) = [each for each in metrics if each.name == names.METRIC_LATENCY]
    exemplars = [sample.exemplar for sample in latency.samples if sample.exemplar]
    assert exemplars
    assert all(re.fullmatch("[0-9a-f]{32}", each.labels["trace_id"]) for each in exemplars)
