"""`tokenway models`: what may be asked, and what it costs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from google.protobuf.json_format import MessageToDict
from rich.console import Console

from libs.money import usd
from services.mesh.cli.json_output import json_option, print_json
from services.mesh.cli.page import Page
from services.mesh.cli.place import router_address, router_options
from services.mesh.cli.table import print_table
from services.mesh.client.router import RouterAddress, connected
from services.mesh.state_directory import StateDirectory
from tokenway.common.v1.model_pb2 import Model
from tokenway.router.v1.router_pb2 import ListModelsResponse

_TIMEOUT_SECONDS = 10.0
_HEADINGS = ("model", "tier", "$ per 1M in", "$ per 1M out", "context", "p99", "capabilities", "available")


@click.command(
    cls=Page,
    examples=(
        ("tokenway models", "names, prices, context windows; whether a replica answers"),
        ("tokenway models --json | jq -r 'select(.available).name'", "for programs"),
    ),
)
@json_option("One JSON object a line, one a model.")
@router_options
def models(
    *, state: StateDirectory, router: str | None, ca_file: Path | None, key_file: Path | None, as_json: bool
) -> None:
    """List the models that your key may use, cheapest first."""
    address = router_address(state, router=router, ca_file=ca_file, key_file=key_file)
    listed = asyncio.run(_list(address)).models
    if not as_json:
        print_table(_HEADINGS, [_row(each) for each in listed], console=Console())
        return
    for each in listed:
        print_json(MessageToDict(each, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))


async def _list(address: RouterAddress) -> ListModelsResponse:
    async with connected(address) as router:
        return await router.list_models(timeout_seconds=_TIMEOUT_SECONDS)


def _row(model: Model) -> tuple[str, ...]:
    return (
        model.name,
        model.tier,
        usd(model.price.input_micro_usd_per_million_tokens),
        usd(model.price.output_micro_usd_per_million_tokens),
        f"{model.context_window_tokens:,}",
        f"{model.p99_latency.ToMilliseconds() / 1_000:g} s",
        " ".join(model.capabilities),
        "yes" if model.available else "no",
    )
