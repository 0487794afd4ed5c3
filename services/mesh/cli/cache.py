"""`tokenway cache`: what is reused, and what must not be."""

from __future__ import annotations

import asyncio
from typing import Any

import click
from rich.console import Console

from services.mesh.cli.administration import admin_options, ask, place, print_message
from services.mesh.cli.candidates import request_ids
from services.mesh.cli.json_output import json_option, print_json
from services.mesh.cli.last import wanted_request
from services.mesh.cli.mesh_candidates import model_names
from services.mesh.cli.page import Pages
from services.mesh.cli.place import router_options
from services.mesh.cli.question import Question, question_options
from services.mesh.cli.table import print_table
from services.mesh.client.router import RouterAddress, connected
from services.mesh.state_directory import StateDirectory
from tokenway.router.v1 import admin_pb2 as pb

_NEIGHBOURS = ("cosine", "votes", "guard", "request")
_TIMEOUT_SECONDS = 15.0
# Of a cosine, and of a share.
_MOST = 1.0


@click.group(
    cls=Pages,
    examples=(
        ("tokenway cache stats", "how many hits, and how many of the semantic ones may be wrong"),
        ('tokenway cache explain "Why is the sky blue?"', "whether it may be reused, and what lies near it"),
        ("tokenway cache invalidate --model small", "no answer of the model small is served again"),
    ),
)
def cache() -> None:
    """Explain the cache, drop answers, report wrong ones.

    Needs an administrator's key, but for a report; the mesh's own is one.
    """


@cache.command(
    examples=(
        ("tokenway cache stats", "a table"),
        ("tokenway cache stats --json | jq .wrong_share_upper_bound", "for programs"),
    )
)
@admin_options
def stats(*, as_json: bool, **router: Any) -> None:
    """Show the cache's figures of your organisation.

    Lookups and hits are counted by the cache process that answers, since it started: with several replicas each has its
    own, and Prometheus sums them. What is known of wrong hits is shared by all of them.
    """
    found = ask(place(**router), lambda client: client.get_cache_stats())
    if as_json:
        print_message(found)
    else:
        print_table(("figure", "value"), _figures(found), console=Console())


@cache.command(
    examples=(
        ("tokenway cache invalidate --all", "everything of your organisation"),
        ("tokenway cache invalidate --model small", "what one model answered"),
        ("tokenway cache invalidate --model small --revision 2", "what one revision of its weights answered"),
        ("tokenway cache invalidate --tag doc=handbook", "what was generated for requests with that label"),
    )
)
@click.option("--all", "everything", is_flag=True, help="Every answer of your organisation.")
@click.option("--model", metavar="NAME", shell_complete=model_names, help="The answers of a model [none].")
@click.option("--revision", default="", help="With --model: of this revision of its weights alone [all].")
@click.option("--tag", metavar="KEY=VALUE", help="What was generated for requests with that label [none].")
@admin_options
def invalidate(
    *, everything: bool, model: str | None, revision: str, tag: str | None, as_json: bool, **router: Any
) -> None:
    """Drop answers: all, a model's, one revision's, or a label's.

    They are generated anew when they are asked for, also those that are being generated meanwhile: whoever asked before
    gets one of these, and nobody else. What the cache has learnt about wrong hits stays.
    """
    what: dict[str, Any] = {
        name: given for name, given in (("all", everything), ("model", model), ("tag", tag)) if given
    }
    if len(what) != 1:
        raise click.UsageError("say what to drop, once: --all, --model NAME or --tag KEY=VALUE")
    if revision and not model:
        raise click.UsageError("--revision goes with --model NAME")
    request = pb.InvalidateCacheRequest(model_revision=revision, **what)
    address = place(**router)
    dropped = ask(address, lambda client: client.invalidate_cache(request))
    if as_json:
        print_json({"dropped": dropped})
    else:
        click.echo(f"{dropped:,} dropped")
    # After it: a model that is no longer configured may have left answers.
    if model and not dropped and model not in (known := asyncio.run(_models(address))):
        click.echo(f"warning: no model {model} is configured: there are {', '.join(known)}", err=True)


@cache.command(
    examples=(
        ('tokenway cache explain "Why is the sky blue?"', "may it be reused, what is stored, what lies near it"),
        ('tokenway cache explain --json "…" | jq .neighbours', "for programs"),
    )
)
@question_options
@admin_options
def explain(*, as_json: bool, state: Any, router: str | None, ca_file: Any, key_file: Any, **question: Any) -> None:
    """Say what the cache makes of a question. Generates nothing, changes nothing, and counts as no lookup.

    `audit`: the semantic cache would answer, but this question is one of the few that are generated anew to see whether
    that would be right.
    """
    asked = Question(**question).message()
    address = place(state=state, router=router, ca_file=ca_file, key_file=key_file)
    found = ask(address, lambda client: client.explain_cache(asked))
    if as_json:
        print_message(found)
        return
    print_table(("question", ""), _explanation(found), console=Console())
    if found.neighbours:
        rows = [
            (f"{each.similarity:.4f}", f"{each.votes:.3f}", each.guard, each.source_request_id)
            for each in found.neighbours
        ]
        click.echo()
        print_table(_NEIGHBOURS, rows, console=Console())


@cache.command(
    examples=(
        ("tokenway cache report last", "the last answer that was asked for from here was wrong"),
        ("tokenway cache report 3f2a…", "as its receipt names it"),
    )
)
@click.argument(
    "request_id", shell_complete=request_ids, help="From a receipt, or `last`: the last one sent from here."
)
@json_option("One JSON object.")
@router_options
def report(*, request_id: str, as_json: bool, state: StateDirectory, **router: Any) -> None:
    """Say that the cached answer to a request was wrong.

    It is evicted, and the cache learns from it. Needs the key that asked, or an administrator's. For a day after the
    answer.
    """
    wrong = wanted_request(request_id, state)
    evicted = asyncio.run(_report(place(state=state, **router), wrong))
    if as_json:
        print_json({"evicted": evicted})
    else:
        click.echo("evicted" if evicted else "nothing to evict: it is gone, or that request got nothing from the cache")


async def _report(address: RouterAddress, request_id: str) -> bool:
    async with connected(address) as router:
        return await router.report_bad_hit(request_id, timeout_seconds=_TIMEOUT_SECONDS)


async def _models(address: RouterAddress) -> list[str]:
    async with connected(address) as router:
        return [each.name for each in (await router.list_models(timeout_seconds=_TIMEOUT_SECONDS)).models]


def _figures(found: pb.GetCacheStatsResponse) -> list[tuple[str, str]]:
    share = f" ({found.hits / found.lookups:.1%})" if found.lookups else ""
    return [
        ("lookups", f"{found.lookups:,}"),
        ("hits", f"{found.hits:,}{share}"),
        ("semantic hits", f"{found.semantic_hits:,}"),
        ("followed another that asked the same", f"{found.shared:,}"),
        ("semantic lookups shed", f"{found.semantic_shed:,}"),
        ("answers stored", f"{found.entries:,}"),
        ("hits audited", f"{found.audited:,}"),
        ("wrong hits reported", f"{found.reported:,}"),
        ("wrong share of semantic hits", _wrong_share(found)),
        ("calibrated share of votes", _least(found.calibrated_threshold)),
    ]


def _wrong_share(found: pb.GetCacheStatsResponse) -> str:
    if not found.labels:
        return "not known yet"
    if found.wrong_share_upper_bound >= 1:
        return f"not known yet: too few labels ({found.labels:,})"
    return (
        f"{found.estimated_wrong_share:.1%}, at most {found.wrong_share_upper_bound:.1%} (of {found.labels:,} labels)"
    )


def _explanation(found: pb.ExplainCacheResponse) -> list[tuple[str, str]]:
    bypass, semantic = found.bypass_reason, found.semantic_bypass_reason
    return [
        ("model", found.model),
        ("exact cache", f"not used: {bypass}" if bypass else "stored" if found.stored else "nothing stored"),
        ("semantic cache", f"not used: {semantic}" if semantic else _demanded(found)),
        ("key", found.key),
        ("partition", found.partition),
    ]


def _demanded(found: pb.ExplainCacheResponse) -> str:
    demanded = {"cosine": found.threshold, "share of votes": found.votes_threshold}
    return ", ".join(f"{name} {_least(least)}" for name, least in demanded.items() if least) or "-"


def _least(score: float) -> str:
    if not score:
        return "-"
    return "none is enough yet" if score > _MOST else f"{score:.3f} or more"
