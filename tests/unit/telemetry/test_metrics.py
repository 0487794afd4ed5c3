"""The metrics' names, types, labels and buckets are what dashboards rely on."""

from __future__ import annotations

import socket
import threading
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from libs.telemetry.metrics import RequestMetrics, metrics_server


def exposition(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


def one_request() -> CollectorRegistry:
    registry = CollectorRegistry()
    metrics = RequestMetrics(registry)
    metrics.first_token("small", after_seconds=0.15)
    metrics.used("small", input_tokens=7, output_tokens=3, cost_micro_usd=2_500_000)
    metrics.ended("small", "success", duration_seconds=1.2, overhead_seconds=0.004)
    metrics.ended("small", "error", duration_seconds=40, overhead_seconds=0.004)
    return registry


@pytest.mark.parametrize(
    "line",
    [
        'llm_requests_total{model="small",status="success"} 1.0',
        'llm_requests_total{model="small",status="error"} 1.0',
        'llm_tokens_total{model="small",type="input"} 7.0',
        'llm_tokens_total{model="small",type="output"} 3.0',
        'llm_estimated_cost_dollars_total{model="small"} 2.5',
        'llm_latency_seconds_count{model="small"} 2.0',
        'llm_ttft_seconds_sum{model="small"} 0.15',
    ],
)
def test_a_request_is_counted_under_the_agreed_names(line: str) -> None:
    assert line in exposition(one_request()).splitlines()


def test_types_are_the_agreed_ones() -> None:
    families = text_string_to_metric_families(exposition(one_request()))
    types = {family.name: family.type for family in families if not family.name.endswith("_created")}
    assert types == {
        "llm_requests": "counter",
        "llm_latency_seconds": "histogram",
        "llm_ttft_seconds": "histogram",
        "llm_tokens": "counter",
        "llm_estimated_cost_dollars": "counter",
        "tokenway_overhead_seconds": "histogram",
        "gen_ai_client_token_usage": "histogram",
    }


@pytest.mark.parametrize(
    ("name", "buckets"),
    [
        ("llm_latency_seconds", ["0.1", "0.5", "1.0", "2.0", "5.0", "10.0", "30.0", "+Inf"]),
        ("llm_ttft_seconds", ["0.1", "0.2", "0.5", "1.0", "2.0", "+Inf"]),
    ],
)
def test_buckets_are_the_agreed_ones(name: str, buckets: list[str]) -> None:
    families = {family.name: family for family in text_string_to_metric_families(exposition(one_request()))}
    samples = [sample for sample in families[name].samples if sample.name == f"{name}_bucket"]
    assert [sample.labels["le"] for sample in samples] == buckets


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_the_registry_is_served_on_a_free_port(host: str) -> None:
    if host == "[::1]" and not _has_ipv6_loopback():
        pytest.skip("no IPv6 on this machine")
    with metrics_server(f"{host}:0", registry=one_request()) as address:
        body = urllib.request.urlopen(f"http://{address}/metrics").read()
    assert b"llm_requests_total" in body
    assert not address.endswith(":0")


def test_a_stopped_server_leaves_no_thread_and_no_port() -> None:
    threads = threading.active_count()
    with metrics_server("127.0.0.1:0", registry=CollectorRegistry()) as address:
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads
    with metrics_server(address, registry=CollectorRegistry()) as again:
        assert again == address


def test_a_taken_address_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match="in use"), metrics_server(address, registry=CollectorRegistry()):
            pass


def _has_ipv6_loopback() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
