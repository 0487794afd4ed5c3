"""`tokenway keys`: who may call the mesh."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from services.mesh.cli.administration import admin_options, ask, moment, place, print_message
from services.mesh.cli.mesh_candidates import key_ids, model_names
from services.mesh.cli.page import Pages
from services.mesh.cli.table import print_table
from services.mesh.client.admin import AdminClient
from services.mesh.errors import MeshError
from services.mesh.state_directory import StateDirectory
from tokenway.common.v1.principal_pb2 import ApiKey, KeyRole, Principal

_HEADINGS = ("key", "role", "user", "team", "models", "made", "expires", "revoked")
_PERIOD = re.compile(r"([1-9][0-9]{0,4})([hd])")


class Moment(click.ParamType[datetime]):
    """A moment that is to come: `90d` or `12h` from now, a date, or a date and time; UTC unless it says otherwise."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if period := _PERIOD.fullmatch(value):
            hours = int(period[1]) * (24 if period[2] == "d" else 1)
            return datetime.now(UTC) + timedelta(hours=hours)
        try:
            given = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no moment: give 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z", param, ctx)
        moment = given if given.tzinfo else given.replace(tzinfo=UTC)
        if moment <= (now := datetime.now(UTC)):
            self.fail(f"{value!r} is past, now it is {now:%Y-%m-%dT%H:%MZ}: give a moment that is to come", param, ctx)
        return moment


@click.group(
    cls=Pages,
    examples=(
        ("tokenway keys create ci --model small --expires 90d", "prints a new key, this once"),
        ("tokenway keys list", "every key, revoked ones included"),
        ("tokenway keys revoke ci", "ends it"),
    ),
)
def keys() -> None:
    """Make, list and revoke API keys. Needs an administrator's key; the mesh's own is one."""


@keys.command(
    examples=(
        ("tokenway keys create ci", "a key of the role caller, for all models, for ever"),
        ("tokenway keys create ada --user ada --team research --role admin --expires 2030-01-01", "an administrator's"),
        ("export TOKENWAY_API_KEY=$(tokenway keys create shell --expires 12h)", "for this shell, till tonight"),
    )
)
@click.argument("key_id", metavar="ID", help="Its public name: letters, digits, '.', '_' and '-', at most 64.")
@click.option(
    "--role", type=click.Choice(["caller", "admin"]), default="caller", show_default=True, help="What it may do."
)
@click.option("--user", default="", metavar="NAME", help="The person or program that it belongs to [nobody].")
@click.option("--team", default="", metavar="NAME", help="Their team [none].")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    shell_complete=model_names,
    help="A model that it may use; repeat it for more [all].",
)
@click.option("--expires", type=Moment(), metavar="WHEN", help="90d or 12h from now, or a date, in UTC [never].")
@admin_options
def create(
    *,
    key_id: str,
    role: str,
    user: str,
    team: str,
    models: tuple[str, ...],
    expires: datetime | None,
    as_json: bool,
    **router: Any,
) -> None:
    """Make the key ID and print it, this once.

    Only its hash is kept. ID is its public name in lists, budgets and receipts. It is never used twice, not even after
    the key is revoked.
    """
    named = Principal(key_id=key_id, user=user, team=team, role=KeyRole.Value(f"KEY_ROLE_{role.upper()}"))
    key = ApiKey(principal=named, allowed_models=models, expires_at=_timestamp(expires))
    made = ask(place(**router), lambda client: client.create_key(key))
    if as_json:
        print_message(made)
        return
    click.echo(made.secret)
    click.echo(f"The key {key_id}, role {role}. It is shown this once: keep it where it is safe.", err=True)


@keys.command(
    "list",
    examples=(
        ("tokenway keys list", "a table"),
        ("tokenway keys list --json | jq -r 'select(.revoked_at == null).principal.key_id'", "those in force"),
    ),
)
@admin_options
def list_keys(*, as_json: bool, **router: Any) -> None:
    """List your organisation's keys, revoked ones included. Never with their secrets."""
    listed = ask(place(**router), lambda client: client.list_keys())
    if not as_json:
        print_table(_HEADINGS, [_row(each) for each in listed], console=Console())
        return
    for each in listed:
        print_message(each)


@keys.command(examples=(("tokenway keys revoke ci", "from now on it is KEY_REVOKED"),))
@click.argument("key_id", metavar="ID", shell_complete=key_ids, help="The key, as `tokenway keys list` names it.")
@click.option("--force", is_flag=True, help="Also the last key of an administrator.")
@admin_options
def revoke(*, key_id: str, force: bool, as_json: bool, state: StateDirectory, **router: Any) -> None:
    """End the key ID, everywhere within a second. Answers that it is being streamed go on.

    After the last key of an administrator nobody can make another. The mesh's own is made anew when its file, api-key
    in the state directory, is removed and the mesh is started again.
    """

    async def revoked(client: AdminClient) -> ApiKey:
        if not force and _is_last_administrator(key_id, await client.list_keys(), now=datetime.now(UTC)):
            raise MeshError(
                f"{key_id} is the last key of an administrator: nobody could make keys or set limits any more; make"
                " another with `tokenway keys create ID --role admin`, or give --force, and to get one back remove"
                f" {state.api_key_file} and start the mesh again"
            )
        return await client.revoke_key(key_id)

    key = ask(place(state=state, **router), revoked)
    if as_json:
        print_message(key)
    else:
        click.echo(f"{key_id} is revoked since {moment(key, 'revoked_at')}")


def _is_last_administrator(key_id: str, listed: Sequence[ApiKey], *, now: datetime) -> bool:
    in_force = {
        each.principal.key_id
        for each in listed
        if each.principal.role == KeyRole.KEY_ROLE_ADMIN
        and not each.HasField("revoked_at")
        and not (each.HasField("expires_at") and each.expires_at.ToDatetime(UTC) <= now)
    }
    return in_force == {key_id}


def _row(key: ApiKey) -> tuple[str, ...]:
    principal = key.principal
    return (
        principal.key_id,
        KeyRole.Name(principal.role).removeprefix("KEY_ROLE_").lower(),
        principal.user or "-",
        principal.team or "-",
        " ".join(key.allowed_models) or "all",
        moment(key, "created_at"),
        moment(key, "expires_at"),
        moment(key, "revoked_at"),
    )


def _timestamp(given: datetime | None) -> Timestamp | None:
    if given is None:
        return None
    message = Timestamp()
    message.FromDatetime(given)
    return message
