"""What a shell offers from a router: names of models, ids of keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import click

from services.mesh.cli.candidates import offered
from services.mesh.cli.place import router_address
from services.mesh.client.admin import administering
from services.mesh.client.router import RouterAddress, connected

_SECONDS = 0.3
_Ask = Callable[[RouterAddress], Awaitable[Iterable[str]]]


def model_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Those that the key may use."""
    return offered(lambda: _from_router(context, _models), incomplete)


def key_ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Those of the organisation, if the key is an administrator's."""
    return offered(lambda: _from_router(context, _keys), incomplete)


def budget_scopes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """`organisation`; every key, user and team of its keys."""
    others = offered(lambda: _from_router(context, _scopes), "")
    return offered(lambda: ("organisation", *others), incomplete)


def _from_router(context: click.Context, ask: _Ask) -> Iterable[str]:
    address = router_address(
        context.params["state"], **{name: context.params.get(name) for name in ("router", "ca_file", "key_file")}
    )

    async def asked() -> Iterable[str]:
        async with asyncio.timeout(_SECONDS):
            return await ask(address)

    return asyncio.run(asked())


async def _models(address: RouterAddress) -> Iterable[str]:
    async with connected(address) as router:
        return [each.name for each in (await router.list_models(timeout_seconds=_SECONDS)).models]


async def _keys(address: RouterAddress) -> Iterable[str]:
    async with administering(address) as client:
        return [each.principal.key_id for each in await client.list_keys()]


async def _scopes(address: RouterAddress) -> Iterable[str]:
    async with administering(address) as client:
        principals = [each.principal for each in await client.list_keys()]
    named = [("key", each.key_id) for each in principals]
    named += [(scope, getattr(each, scope)) for scope in ("user", "team") for each in principals]
    return dict.fromkeys(f"{scope}:{subject}" for scope, subject in named if subject)
