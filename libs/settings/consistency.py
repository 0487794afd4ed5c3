"""What no single field can break: names that are taken twice, references to nothing, limits that contradict.

Each check looks at the parts of the file that are valid by themselves, so that one bad field hides no other mistake.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from pydantic import ValidationError

from libs.address import is_local
from libs.settings import addresses
from libs.settings.mistakes import Mistake, Path, dotted
from libs.settings.schema import (
    Budget,
    Cache,
    InnerService,
    Limit,
    Model,
    OpenAiEngine,
    Router,
    Section,
    Service,
    Telemetry,
    VllmEngine,
)
from libs.settings.yaml_tree import Tree, Value

Part = TypeVar("Part", bound=Section)
SERVICES: dict[str, type[Service]] = {"router": Router, "cache": Cache, "budget": Budget}


def inconsistencies(tree: Tree) -> Iterator[Mistake]:
    """Every mistake that takes more than one field to see."""
    for check in CHECKS:
        yield from check(tree)


def names_are_unique(tree: Tree) -> Iterator[Mistake]:
    """Models and organisations in the mesh, keys and guards' patterns in their organisation."""
    yield from _repeated(tree.texts("models.*.name"), "the name {value!r} is taken by {first}")
    yield from _repeated(tree.texts("organisations.*.name"), "the name {value!r} is taken by {first}")
    for path, _ in tree.select("organisations.*"):
        here = f"organisations.{path[-1]}"
        yield from _repeated(tree.texts(f"{here}.keys.*.id"), "the id {value!r} is taken by {first}")
        yield from _repeated(tree.texts(f"{here}.guards.patterns.*.name"), "the name {value!r} is taken by {first}")


def key_hashes_are_unique(tree: Tree) -> Iterator[Mistake]:
    """A key names one principal."""
    yield from _repeated(tree.texts("organisations.*.keys.*.sha256"), "is the same key as {first}")


def addresses_are_unique(tree: Tree) -> Iterator[Mistake]:
    """Two servers cannot share an address, and the router must not take itself for a replica.

    Every address of a machine (0.0.0.0) is not compared: it does not say which machine.
    """
    taken = (*_service_addresses(tree), *_model_addresses(tree))
    fixed = ((path, each) for path, each in taken if addresses.is_one_place(each))
    yield from _repeated(fixed, "the address {value} is taken by {first}")


def plaintext_stays_on_this_machine(tree: Tree) -> Iterator[Mistake]:
    """What other machines can reach needs certificates."""
    for path, router in _services(tree, "router"):
        if tree.at((*path, "tls")) is None and not is_local(router.listen):
            yield _plaintext((*path, "listen"), router.listen, "services.router.tls")
    if tree.at(("mesh_tls",)) is not None:
        return
    services = list(_services(tree, "cache", "budget"))
    inside = [((*path, "listen"), each.listen) for path, each in services]
    called = [(path, each.address) for path, each in services if isinstance(each, InnerService)]
    inside += [((*path, "address"), address) for path, address in called if address is not None]
    for path, address in [*inside, *_endpoints(tree)]:
        if not is_local(address):
            yield _plaintext(path, address, "mesh_tls")


def budgets_have_subjects(tree: Tree) -> Iterator[Mistake]:
    """A key's budget names a key of its organisation, a user's or team's names it; the organisation's names nothing."""
    for path, limit in _parts(tree, Limit, "organisations.*.budgets.*"):
        keys = [key for _, key in tree.texts(f"organisations.{path[1]}.keys.*.id")]
        if limit.scope == "organisation" and limit.subject is not None:
            message = f"{limit.subject!r} is too much: a budget of the organisation has no subject"
            yield Mistake((*path, "subject"), message)
        elif limit.scope != "organisation" and limit.subject is None:
            what = "the key's id" if limit.scope == "key" else f"the {limit.scope}'s name"
            yield Mistake(path, f"a budget of a {limit.scope} needs {what} as its subject")
        elif limit.scope == "key" and limit.subject not in keys:
            message = f"no key of this organisation has the id {limit.subject!r}; {_known(keys, 'keys')}"
            yield Mistake((*path, "subject"), message)


def budgets_have_one_limit(tree: Tree) -> Iterator[Mistake]:
    """Of money in dollars, of anything else as a number; and over a time in which it can be counted."""
    for path, each in _parts(tree, Limit, "organisations.*.budgets.*"):
        right, wrong = ("limit_usd", "limit") if each.kind == "money" else ("limit", "limit_usd")
        if getattr(each, wrong) is not None:
            yield Mistake((*path, wrong), f"is no limit of {each.kind}; give {right}")
        elif getattr(each, right) is None:
            yield Mistake(path, f"a budget of {each.kind} needs its {right}")
        if each.kind == "concurrency" and each.window != "total":
            message = f"open requests are counted at any instant, not over a {each.window}; give total"
            yield Mistake((*path, "window"), message)


def budgets_are_unique(tree: Tree) -> Iterator[Mistake]:
    """One hard and one soft limit for a scope, subject, window and kind."""
    for path, _ in tree.select("organisations.*"):
        limits = _parts(tree, Limit, f"organisations.{path[-1]}.budgets.*")
        same = ((at, (each.scope, each.subject, each.window, each.kind, each.soft)) for at, each in limits)
        yield from _repeated(same, "{first} limits the same scope, subject, window and kind; keep one")


def what_is_not_booked_has_a_place(tree: Tree) -> Iterator[Mistake]:
    """What is spent while the ledger is away has to be on disk somewhere."""
    folders = [budget.unbooked_folder for _, budget in _parts(tree, Budget, "services.budget")]
    for path, _ in tree.select("organisations.*.open_when_away"):
        if tree.at(path) is not None and not any(folders):
            yield Mistake(path, "needs services.budget.unbooked_folder: a folder on disk for what is not booked yet")


def allowed_models_exist(tree: Tree) -> Iterator[Mistake]:
    """A key may use models of this mesh."""
    names = [name for _, name in tree.texts("models.*.name")]
    for path, name in tree.texts("organisations.*.keys.*.allowed_models.*"):
        if name not in names:
            yield Mistake(path, f"no model has the name {name!r}; {_known(names, 'models')}")


def engines_hold_their_context(tree: Tree) -> Iterator[Mistake]:
    """What the router promises of a model, its engine must be able to do."""
    for path, model in _parts(tree, Model, "models.*"):
        engine = model.engine
        if engine is not None and engine.max_model_len < model.context_window_tokens:
            message = (
                f"the engine takes {engine.max_model_len} tokens, fewer than the model's context_window_tokens, "
                f"{model.context_window_tokens}; raise max_model_len or lower context_window_tokens"
            )
            yield Mistake((*path, "engine", "max_model_len"), message)
        both = {"kv_cache_memory_bytes", "gpu_memory_utilization"}
        if isinstance(engine, VllmEngine) and both <= engine.model_fields_set:
            message = "has no effect beside kv_cache_memory_bytes, which sets the size of the cache; keep one"
            yield Mistake((*path, "engine", "gpu_memory_utilization"), message)


def providers_have_one_key(tree: Tree) -> Iterator[Mistake]:
    """Nobody should have to guess which of two keys is sent."""
    for path, model in _parts(tree, Model, "models.*"):
        engine = model.engine
        if isinstance(engine, OpenAiEngine) and engine.api_key_env is not None and engine.api_key_file is not None:
            yield Mistake((*path, "engine", "api_key_file"), "names a key beside api_key_env; keep one")


def the_collectors_headers_have_one_source(tree: Tree) -> Iterator[Mistake]:
    """Nobody should have to guess which of two is sent."""
    for path, telemetry in _parts(tree, Telemetry, "telemetry"):
        if telemetry.otlp_headers_env is not None and telemetry.otlp_headers_file is not None:
            yield Mistake((*path, "otlp_headers_file"), "names headers beside otlp_headers_env; keep one")


def replicas_on_one_machine_share_no_port(tree: Tree) -> Iterator[Mistake]:
    """One metrics address serves one replica a machine."""
    for path, model in _parts(tree, Model, "models.*"):
        here = [each for each in model.endpoints if is_local(each)]
        if model.engine and len(here) > 1 and not addresses.takes_a_free_port(model.metrics):
            message = f"{len(here)} replicas on this machine cannot share {model.metrics}; give port 0"
            yield Mistake((*path, "metrics"), message)


def waits_are_in_order(tree: Tree) -> Iterator[Mistake]:
    """The shortest wait between attempts is not longer than the longest."""
    for path, router in _parts(tree, Router, "services.router"):
        shortest, longest = router.retry_wait_min_seconds, router.retry_wait_max_seconds
        if shortest > longest:
            message = f"{shortest:g} is more than retry_wait_max_seconds, {longest:g}"
            yield Mistake((*path, "retry_wait_min_seconds"), message)


CHECKS = (
    names_are_unique,
    key_hashes_are_unique,
    addresses_are_unique,
    plaintext_stays_on_this_machine,
    budgets_have_subjects,
    budgets_have_one_limit,
    budgets_are_unique,
    what_is_not_booked_has_a_place,
    allowed_models_exist,
    engines_hold_their_context,
    providers_have_one_key,
    the_collectors_headers_have_one_source,
    replicas_on_one_machine_share_no_port,
    waits_are_in_order,
)


def _parts(tree: Tree, kind: type[Part], pattern: str) -> Iterator[tuple[Path, Part]]:
    """The sections at the paths, as far as they are valid; without those that lack something that they must have."""
    for path, fields in tree.select(pattern):
        if isinstance(fields, dict) and (part := _valid_part(kind, fields)):
            yield path, part


def _valid_part(kind: type[Part], fields: Mapping[str, Value]) -> Part | None:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        bad = {details["loc"][0] for details in error.errors(include_url=False, include_context=False)}
    try:
        return kind.model_validate({name: value for name, value in fields.items() if name not in bad})
    except ValidationError:
        return None


def _services(tree: Tree, *names: str) -> Iterator[tuple[Path, Service]]:
    """The services, with their defaults where the file says nothing."""
    for name in names:
        path = ("services", name)
        if tree.at(path) is None:
            yield path, SERVICES[name].model_validate({"listen": SERVICES[name].model_fields["listen"].default})
        yield from _parts(tree, SERVICES[name], f"services.{name}")


def _service_addresses(tree: Tree) -> Iterator[tuple[Path, str]]:
    for path, service in _services(tree, *SERVICES):
        yield (*path, "listen"), service.listen
        yield (*path, "metrics"), service.metrics


def _model_addresses(tree: Tree) -> Iterator[tuple[Path, str]]:
    yield from _endpoints(tree)
    for path, model in _parts(tree, Model, "models.*"):
        yield (*path, "metrics"), model.metrics


def _endpoints(tree: Tree) -> Iterator[tuple[Path, str]]:
    for path, model in _parts(tree, Model, "models.*"):
        for index, address in enumerate(model.endpoints):
            yield (*path, "endpoints", index), address


def _plaintext(path: Path, address: str, remedy: str) -> Mistake:
    message = f"{address} can be reached from other machines, so it needs certificates: give {remedy}, or use loopback"
    return Mistake(path, message)


def _known(names: Iterable[object], kind: str) -> str:
    listed = ", ".join(dict.fromkeys(map(str, names)))
    return f"there are {listed}" if listed else f"there are no {kind}"


def _repeated(values: Iterable[tuple[Path, Hashable]], message: str) -> Iterator[Mistake]:
    first: dict[Hashable, Path] = {}
    for path, value in values:
        if value in first:
            yield Mistake(path, message.format(value=value, first=dotted(first[value])))
        else:
            first[value] = path
