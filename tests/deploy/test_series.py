"""Every expression of the alert rules and of the dashboard names series, labels and values that the services export."""

from __future__ import annotations

import asyncio
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from libs.errors import TokenwayError
from libs.testing.valkey import RedisServer
from services.mesh.client.router import RouterAddress, connected
from tests.deploy.promql import Matcher, Selector, parse
from tests.deploy.shipped import Query, dashboard_queries, jobs, recorded, rule_queries
from tests.mesh.in_process import KEY, question, settings
from tests.mesh.processes import processes
from tests.mesh.test_metrics import BOUNDED, ROOT, SERVICES, ask, listed
from tokenway.client.router import RouterClient

pytestmark = pytest.mark.processes

QUERIES = (*rule_queries(), *dashboard_queries())
# What Prometheus adds to what it scrapes.
SCRAPED = {"job", "instance"}


@dataclass(frozen=True, slots=True)
class Exported:
    """Series by name: their labels, and the values that these have or may have."""

    labels: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    values: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, exposition: str) -> None:
        for family in text_string_to_metric_families(exposition):
            # A family may have no sample yet, or never here: a GPU's.
            self.labels[f"{family.name}_total" if family.type == "counter" else family.name] |= set()
            for sample in family.samples:
                self.labels[sample.name] |= sample.labels.keys()
                for label, value in sample.labels.items():
                    self.values[sample.name, label].add(value)


@pytest.fixture(scope="module")
def exported(valkey_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """What four processes export after an answer, a hit and a broken answer, and what their READMEs say of the rest."""
    valkey_server.flush()  # what is cached asks no engine
    found = Exported()
    for text in asyncio.run(expositions(valkey_server.url, tmp_path_factory.mktemp("tw"))):
        found.add(text)
    for readme in ("libs/telemetry", *(f"services/{each}" for each in SERVICES.values())):
        for name, labels in listed(ROOT / readme / "README.md").items():
            if name in found.labels:
                found.labels[name] |= labels
    found.labels["up"] = found.labels["ALERTS"] = set()
    return found


async def expositions(redis_url: str, folder: Path) -> list[str]:
    async with processes(settings(folder, redis_url), folder) as started:
        async with connected(RouterAddress(f"unix:{folder}/router.sock", KEY)) as client:
            # The first call of a router on a busy machine may find nobody yet.
            while not await succeeded(client, "again"):  # noqa: ASYNC110 - another process: there is nothing to wait on
                await asyncio.sleep(0.1)
            for text in ("again", "hello [[fault:cut_after=2]]"):
                await ask(client, text)
        # The last request's money is settled after its end.
        router = started["router"].metrics_address
        while "BudgetService/Settle" not in await asyncio.to_thread(exposition, router):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
        return [await asyncio.to_thread(exposition, started[each].metrics_address) for each in SERVICES]


async def succeeded(client: RouterClient, text: str) -> bool:
    try:
        await client.generate(question(text), timeout_seconds=10)
    except TokenwayError:
        return False
    return True


def exposition(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:  # it is http
        return str(answer.read().decode())


def mistakes(query: Query, exported: Exported) -> Iterator[str]:
    expression = parse(query.expression)
    selectors = [each for each in expression.selectors if each.metric not in recorded()]
    for selector in selectors:
        if selector.metric not in exported.labels:
            yield f"nothing exports {selector.metric}"
            continue
        yield from (wrong for matcher in selector.matchers for wrong in wrong_matcher(selector, matcher, exported))
    known = SCRAPED.union(*(exported.labels.get(each.metric, set()) for each in selectors))
    used = expression.grouped_by | expression.joined_on | query.shown
    yield from (f"no series has the label {each}" for each in used - known)
    if expression.grouped_by:
        yield from (f"{each} is shown, and not grouped by" for each in query.shown - expression.grouped_by)


def wrong_matcher(selector: Selector, matcher: Matcher, exported: Exported) -> Iterator[str]:
    if matcher.label not in exported.labels[selector.metric] | SCRAPED:
        yield f"{selector.metric} has no label {matcher.label}"
    elif not matcher.value.startswith("$"):
        seen = exported.values[selector.metric, matcher.label]
        possible = jobs() if matcher.label == "job" else seen | BOUNDED.get(matcher.label, set())
        for each in matcher.alternatives:
            if not any(matcher.matches(value, each) for value in possible):
                yield f"{selector.metric} never has {matcher.label}={each!r}, but {sorted(possible)}"


def test_every_expression_names_what_the_services_export(exported: Exported) -> None:
    found = [f"{query.where}: {wrong}" for query in QUERIES for wrong in mistakes(query, exported)]
    assert found == []


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("sum(llm_request_total)", "nothing exports llm_request_total"),
        ('llm_requests_total{state="error"}', "llm_requests_total has no label state"),
        ('llm_requests_total{status=~"error|failed"}', "never has status='failed'"),
        ('llm_ttft_seconds_bucket{le="3.0"}', "never has le='3.0'"),
        ('up{job="routers"}', "never has job='routers'"),
        ("sum by (modell) (llm_requests_total)", "no series has the label modell"),
    ],
)
def test_a_mistake_is_found(expression: str, complaint: str, exported: Exported) -> None:
    (found,) = mistakes(Query("a mistake", expression), exported)
    assert complaint in found
