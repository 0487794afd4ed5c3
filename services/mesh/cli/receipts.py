"""`tokenway receipts`: how single requests ended, and what they cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, date, datetime
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from libs.money import usd
from services.mesh.cli.administration import admin_options, ask, moment, place, print_message
from services.mesh.cli.candidates import request_ids
from services.mesh.cli.last import wanted_request
from services.mesh.cli.mesh_candidates import key_ids
from services.mesh.cli.number import Number
from services.mesh.cli.page import Page
from services.mesh.cli.spend import Day
from services.mesh.cli.table import print_table
from services.mesh.client.admin import AdminClient
from services.mesh.errors import MeshError
from services.mesh.state_directory import StateDirectory
from tokenway.common.v1.money_pb2 import Outcome, Receipt
from tokenway.router.v1 import admin_pb2 as pb

_HEADINGS = ("booked", "request", "key", "model", "input", "output", "cost", "outcome")
_PAGE_SIZE = 1_000
_MOST_RECEIPTS = 1_000_000


@click.command(
    cls=Page,
    examples=(
        ("tokenway receipts", "the last 20"),
        ("tokenway receipts last", "what the last one sent from here cost"),
        ("tokenway receipts --key ci --since 2026-11-01 --most 500", "those of a key, of this month"),
        ("tokenway receipts --json | jq 'select(.outcome == \"OUTCOME_PRESUMED\")'", "micro-dollars, for programs"),
    ),
)
@click.argument(
    "request_id",
    required=False,
    shell_complete=request_ids,
    help="Of this request alone: from a receipt or an error, or `last`: the last one sent from here [all requests].",
)
@click.option("--key", metavar="ID", shell_complete=key_ids, help="Of this key alone [every key].")
@click.option("--since", type=Day(), metavar="DAY", help="Booked on this day (UTC) or later [any].")
@click.option(
    "--most",
    type=Number(int, least=1, most=_MOST_RECEIPTS),
    default=20,
    show_default=True,
    metavar="N",
    help="So many at most.",
)
@admin_options
def receipts(
    *,
    request_id: str | None,
    key: str | None,
    since: date | None,
    most: int,
    as_json: bool,
    state: StateDirectory,
    **router: Any,
) -> None:
    """List how single requests ended, and what each cost.

    Receipts of your organisation, the newest first; `released` is one for which nothing is billed: it was answered from
    the cache, or by nobody. A request has one for each model that it was tried on. Where a late word of its router
    corrected what was presumed there is one more, `corrected`, which takes the place of the `presumed` one: in a sum,
    count it alone. They are kept for 35 days, unless the mesh is configured otherwise. Needs an administrator's key.
    """
    wanted = "" if request_id is None else wanted_request(request_id, state)
    request = pb.ListReceiptsRequest(request_id=wanted, page_size=_PAGE_SIZE if key else min(most, _PAGE_SIZE))
    if since:
        request.since.CopyFrom(_midnight(since))
    found = ask(place(state=state, **router), lambda client: _listed(client, request, key=key, most=most))
    if wanted and not found and not key and not since:
        raise MeshError(f"no receipt of a request {wanted}: none was booked yet, or it is no longer kept")
    if not as_json:
        print_table(_HEADINGS, [_row(each) for each in found], console=Console())
        return
    for each in found:
        print_message(each)


async def _listed(client: AdminClient, request: pb.ListReceiptsRequest, *, key: str | None, most: int) -> list[Receipt]:
    found: list[Receipt] = []
    async with aclosing(_all(client, request)) as every:
        async for receipt in every:
            if key in (None, receipt.key_id):
                found.append(receipt)
            if len(found) == most:
                break
    return found


async def _all(client: AdminClient, request: pb.ListReceiptsRequest) -> AsyncGenerator[Receipt]:
    while True:
        page = await client.list_receipts(request)
        for receipt in page.receipts:
            yield receipt
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _midnight(day: date) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(datetime(day.year, day.month, day.day, tzinfo=UTC))
    return message


def _row(receipt: Receipt) -> tuple[str, ...]:
    return (
        moment(receipt, "booked_at"),
        receipt.request_id,
        receipt.key_id,
        receipt.model,
        f"{receipt.usage.input_tokens:,}",
        f"{receipt.usage.output_tokens:,}",
        usd(receipt.cost_micro_usd),
        Outcome.Name(receipt.outcome).removeprefix("OUTCOME_").lower(),
    )
