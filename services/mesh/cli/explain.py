"""`tokenway explain`: where a question would go, and why not elsewhere."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
from google.protobuf.json_format import MessageToDict
from rich.console import Console

from libs.money import usd
from services.mesh.cli.json_output import json_option, print_json
from services.mesh.cli.page import Page
from services.mesh.cli.place import router_address, router_options
from services.mesh.cli.question import Question, question_options
from services.mesh.cli.table import print_table
from services.mesh.client.router import RouterAddress, connected
from services.mesh.state_directory import StateDirectory
from tokenway.router.v1.router_pb2 import Candidate, ExplainRouteResponse

_TIMEOUT_SECONDS = 10.0
_HEADINGS = ("rank", "model", "expected cost", "p99", "verdict")


@click.command(
    cls=Page,
    examples=(
        ('tokenway explain "Why is the sky blue?"', "which model would answer, what it would cost, why not another"),
        ("tokenway explain --task code_generation --max-latency 2 '…'", "the same with what is required"),
        ('tokenway explain --json "…" | jq .candidates', "for programs"),
    ),
)
@question_options
@json_option("One JSON object: the model, why, candidates.")
@router_options
def explain(
    *,
    state: StateDirectory,
    router: str | None,
    ca_file: Path | None,
    key_file: Path | None,
    as_json: bool,
    **question: Any,
) -> None:
    """Say which model would answer, with every model's verdict. Generates nothing and costs nothing."""
    address = router_address(state, router=router, ca_file=ca_file, key_file=key_file)
    route = asyncio.run(_explain(address, Question(**question)))
    if as_json:
        print_json(MessageToDict(route, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))
        return
    click.echo(f"{route.model}: {route.why}" if route.model else "no model qualifies")
    print_table(_HEADINGS, [_row(each) for each in route.candidates], console=Console())


async def _explain(address: RouterAddress, question: Question) -> ExplainRouteResponse:
    async with connected(address) as router:
        return await router.explain_route(question.message(), timeout_seconds=_TIMEOUT_SECONDS)


def _row(candidate: Candidate) -> tuple[str, ...]:
    return (
        str(candidate.rank) if candidate.qualifies else "-",
        candidate.model,
        usd(candidate.expected_cost_micro_usd),
        f"{candidate.p99_latency.ToMilliseconds() / 1_000:g} s",
        "qualifies" if candidate.qualifies else "; ".join(candidate.reasons),
    )
