"""A real Prometheus scrapes the real services with the shipped rules: expressions are evaluated, panels have data."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.mesh.client.router import RouterAddress, connected
from tests.deploy.free_port import free_port
from tests.deploy.shipped import PROMETHEUS, dashboard_queries, read
from tests.mesh.in_process import KEY, settings
from tests.mesh.processes import processes
from tests.mesh.test_metrics import SERVICES, ask

BINARY = shutil.which("prometheus")
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(BINARY is None, reason="no prometheus; `apt-get install prometheus` brings it"),
]
# Needs a GPU, a guard, a soft limit, a refusal, or an engine's failure before its first token.
EMPTY_HERE = {
    "Soft limits passed",
    "Guards found",
    "GPU",
    "GPU memory",
    "Turned away",
    "Retries and fallbacks",
    "Tokens discarded",
}


async def test_every_panel_has_data_and_every_rule_is_healthy(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        async with processes(settings(folder, redis_url), folder) as started:
            targets = {job: started[process].metrics_address for process, job in SERVICES.items()}
            async with prometheus(folder, targets) as api:
                await api.until(f"count(up == 1) == {len(targets)}")
                empty = await panels_without_data(folder, api)
                groups = (await api.get("rules"))["groups"]
    assert empty == EMPTY_HERE
    rules = [rule for group in groups for rule in group["rules"]]
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


async def panels_without_data(folder: Path, api: Api) -> set[str]:
    """Once there were requests enough: a counter grows from where Prometheus first saw it, each service by itself."""
    tries = 20
    while True:
        await some_requests(folder)
        await asyncio.sleep(0.5)  # a scrape
        empty = {query.where for query in dashboard_queries() if not await api.query(query.without_variables)}
        tries -= 1
        if empty <= EMPTY_HERE or not tries:
            return empty


async def some_requests(folder: Path) -> None:
    """Two answers, a hit, one that breaks off and one that fails."""
    async with connected(RouterAddress(f"unix:{folder}/router.sock", KEY)) as client:
        for text in ("again", "again", "hello", "hello [[fault:cut_after=2]]"):
            await ask(client, text)


class Api:
    """Prometheus' own."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def get(self, path: str, **parameters: str) -> Any:
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        body = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())  # it is http
        return json.loads(body)["data"]

    async def query(self, expression: str) -> list[Any]:
        result = (await self.get("query", query=expression))["result"]
        assert isinstance(result, list)
        return result

    async def until(self, expression: str) -> None:
        """Returns once the expression gives something."""
        async with asyncio.timeout(30):
            while not await self._answers(expression):  # noqa: ASYNC110 - another process: there is nothing to wait on
                await asyncio.sleep(0.2)

    async def _answers(self, expression: str) -> bool:
        try:
            return bool(await self.query(expression))
        except OSError:
            return False


@asynccontextmanager
async def prometheus(folder: Path, targets: Mapping[str, str]) -> AsyncIterator[Api]:
    """With the shipped rules and jobs; each job has the address that it has here."""
    given = read(PROMETHEUS / "prometheus.yml")
    given["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    given["rule_files"] = [str(PROMETHEUS / "rules.yml")]
    for job in given["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets.get(job["job_name"], "127.0.0.1:1")]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(given))
    address = f"127.0.0.1:{free_port()}"
    assert BINARY is not None
    options = (f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb")
    with (folder / "prometheus.log").open("wb") as log:
        running = await asyncio.create_subprocess_exec(
            BINARY, *options, f"--web.listen-address={address}", stdout=log, stderr=log
        )
        try:
            yield Api(address)
        finally:
            running.terminate()
            await asyncio.wait_for(running.wait(), 20)
