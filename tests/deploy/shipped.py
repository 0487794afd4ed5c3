"""The files of deploy/ as the tests read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana/dashboards/tokenway.json"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, where it stands, and the labels that its legend or its annotations show."""

    where: str
    expression: str
    shown: frozenset[str] = frozenset()

    @property
    def without_variables(self) -> str:
        """As Grafana would send it, with everything chosen."""
        return self.expression.replace("$__rate_interval", "1m").replace("$model", ".*")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def rules() -> list[dict[str, Any]]:
    return [rule for group in read(PROMETHEUS / "rules.yml")["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def jobs() -> set[str]:
    return {each["job_name"] for each in read(PROMETHEUS / "prometheus.yml")["scrape_configs"]}


def rule_queries() -> Iterator[Query]:
    for rule in rules():
        shown = re.findall(r"\$labels\.(\w+)", " ".join(rule.get("annotations", {}).values()))
        yield Query(rule.get("alert") or rule["record"], rule["expr"], frozenset(shown))


def dashboard_queries() -> Iterator[Query]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            shown = re.findall(r"{{(\w+)}}", target["legendFormat"])
            yield Query(panel["title"], target["expr"], frozenset(shown))
