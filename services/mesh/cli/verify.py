"""`tokenway budget verify`: whether the sums are what the ledger says."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from services.mesh.cli.administration import admin_options, ask, place, print_message
from services.mesh.cli.ending import DONE, FAILED
from services.mesh.cli.page import Page
from services.mesh.cli.table import print_table
from services.mesh.client.admin import AdminClient
from services.mesh.errors import MeshError
from tokenway.common.v1.money_pb2 import SumDifference, VerifiedLedger
from tokenway.router.v1.admin_pb2 import VerifyLedgerResponse

_HEADINGS = ("sum", "kept", "by the ledger", "difference")


@click.command(
    "verify",
    cls=Page,
    examples=(
        ("tokenway budget verify", "each sum that is wrong, or that none is"),
        ("tokenway budget verify --json | jq -c 'select(.difference)'", "one object for each that is wrong"),
    ),
    exit_codes={DONE: "every sum is what the ledger says", FAILED: "one is not, or no mesh is running"},
)
@admin_options
def verify(*, as_json: bool, **router: Any) -> None:
    """Recompute every sum from the ledger, and change nothing.

    Requests go on meanwhile. What each key, user, team and the organisation have spent and reserved of money, requests
    and tokens, and what is kept of each day, is held against the receipts of the ledger, the sums of those that are no
    longer kept, and the reservations that are open. Needs an administrator's key.
    """
    findings = ask(place(**router), _findings)
    differences = [each.difference for each in findings if each.HasField("difference")]
    if as_json:
        for each in findings:
            print_message(each)
    else:
        _show(differences, findings[-1].verified)
    if differences:
        raise MeshError(
            f"{len(differences)} sums are not what the ledger says: somebody wrote into Redis, Redis has lost writes,"
            " or it is a bug"
        )


async def _findings(client: AdminClient) -> list[VerifyLedgerResponse]:
    """Without the progress, which is seen on a terminal alone."""
    found = []
    with Console(stderr=True).status("reading the ledger") as status:
        async for finding in client.verify_ledger():
            if finding.HasField("progress"):
                status.update(f"reading the ledger: {finding.progress.receipts:,} receipts")
            else:
                found.append(finding)
    return found


def _show(differences: list[SumDifference], verified: VerifiedLedger) -> None:
    if differences:
        rows = [
            (each.name, str(each.kept), str(each.computed), f"{each.kept - each.computed:+}") for each in differences
        ]
        print_table(_HEADINGS, rows, console=Console())
    click.echo(
        f"{verified.counters:,} counters and {verified.days:,} days held against {verified.receipts:,} receipts"
        f" and {verified.trimmed_receipts:,} that are no longer kept: {len(differences) or 'no'} differences"
    )
