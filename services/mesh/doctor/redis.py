"""The Redis of the configuration: whether it answers, what it says of itself, and whether our scripts may run."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import ClassVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, RedisError, ResponseError

from libs.redis_cluster import Cluster, names_cluster, node_url
from libs.settings.redaction import redacted
from services.mesh.doctor.finding import Finding, ok, skipped, warning, wrong
from services.mesh.doctor.patient import Patient
from services.mesh.doctor.redis_facts import RedisFacts
from services.mesh.supervisor.plan import EMBEDDED, Sockets

_ANSWER_SECONDS = 3.0
_PINGS = 5
# Enough that each node of a cluster has one of them.
_TAGS = 4_096
# Writes and removes one key beside ours; should it die between the two, the key goes by itself.
_SCRIPT = "redis.call('SET', KEYS[1], ARGV[1], 'PX', 1000) return redis.call('DEL', KEYS[1])"
_ALLOWING = "redis-cli ACL SETUSER NAME '~tw:*' +@all -@dangerous +info && redis-cli ACL SAVE"


@dataclass(frozen=True, slots=True)
class Store:
    """A server or a cluster, where it is, and whether the ledger is in it.

    Of a cluster's node: `tag` is a hash tag whose keys it has.
    """

    subject: str
    url: str
    holds_money: bool = True
    tag: str | None = None


def check(patient: Patient) -> RedisServers:
    stores, reasons = [], []
    named = patient.settings.stores if patient.settings else None
    if named is None:
        reasons.append("the configuration that names it is refused")
    elif named.redis_url != EMBEDDED:
        stores.append(Store("server", named.redis_url))
    elif patient.running is None:
        reasons.append("the embedded Valkey runs with the mesh, and none runs")
    elif (socket := Sockets(patient.state.sockets).valkey).exists():
        stores.append(Store("server", f"unix://{socket}"))
    else:
        reasons.append("the mesh was started with a REDIS_URL: set it here too")
    if named is not None and named.cache_redis_url not in (None, EMBEDDED):
        stores.append(Store("cache's server", str(named.cache_redis_url), holds_money=False))
    return RedisServers(stores=tuple(stores), not_examined=tuple(reasons))


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServers:
    """Each store in turn. `not_examined`: why there is none to ask."""

    name: ClassVar[str] = "redis"
    limit_seconds: ClassVar[float] = 15
    stores: tuple[Store, ...]
    not_examined: tuple[str, ...] = ()
    date: Callable[[], float] = time.time

    async def findings(self) -> AsyncIterator[Finding]:
        for reason in self.not_examined:
            yield skipped("server", reason)
        for store in self.stores:
            examine = self._findings_of_cluster if names_cluster(store.url) else self._findings_of
            async with aclosing(examine(store)) as findings:
                async for finding in findings:
                    yield finding

    async def _findings_of_cluster(self, store: Store) -> AsyncGenerator[Finding, None]:
        try:
            primaries = await _primaries(store)
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            yield _unusable(store, error)
            return
        yield ok(store.subject, f"{store.url} answers: a cluster of {len(primaries)} primaries")
        for primary in primaries:
            async with aclosing(self._findings_of(primary)) as findings:
                async for finding in findings:
                    about = (
                        finding.subject
                        if finding.subject == primary.subject
                        else f"{primary.subject} {finding.subject}"
                    )
                    yield replace(finding, subject=about)

    async def _findings_of(self, store: Store) -> AsyncGenerator[Finding, None]:
        try:
            client = Redis.from_url(
                store.url,
                protocol=2,
                decode_responses=True,
                socket_timeout=_ANSWER_SECONDS,
                socket_connect_timeout=_ANSWER_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            yield wrong(store.subject, f"{store.url}: {error}", cure="REDIS_URL=redis://HOST:6379/0")
            return
        async with client:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await client.ping()
            except (RedisError, OSError, TimeoutError) as error:
                yield _unusable(store, error)
                return
            yield ok(store.subject, f"{store.url} answers")
            yield await _scripts(client, store)
            for finding in await _facts(client, store, self.date):
                yield finding


async def _primaries(store: Store) -> list[Store]:
    cluster = Cluster(store.url, decode_responses=True)
    async with asyncio.timeout(_ANSWER_SECONDS), cluster:
        tags = {cluster.node_of(f"{{doctor-{each}}}"): f"doctor-{each}" for each in range(_TAGS)}
        return [
            replace(store, subject=node.name, url=node_url(store.url, node.name), tag=tags.get(node, "doctor"))
            for node in cluster.get_primaries()
        ]


async def _facts(client: Redis, store: Store, date: Callable[[], float]) -> Iterable[Finding]:
    try:
        facts = RedisFacts(
            info=await client.info("everything"),
            flush=await _flush(client),
            round_trip_seconds=await _round_trip(client),
            ahead_seconds=await _ahead(client, date),
            holds_money=store.holds_money,
            node_of_cluster=store.tag is not None,
        )
    except NoPermissionError as error:
        return (skipped("facts", f"the user may not ask: {error}"),)
    except (RedisError, OSError) as error:
        return (wrong("facts", f"it stopped answering: {error}", cure="look at its log, and at SLOWLOG GET"),)
    return facts.findings()


async def _flush(client: Redis) -> str | None:
    try:
        return str((await client.config_get("appendfsync"))["appendfsync"])
    except (ResponseError, NoPermissionError, KeyError):  # many that are rented do not allow CONFIG
        return None


async def _round_trip(client: Redis) -> float:
    async def once() -> float:
        began = time.perf_counter()
        await client.ping()
        return time.perf_counter() - began

    # The shortest: other checks run at the same time, and take turns with this one.
    return min([await once() for _ in range(_PINGS)])


async def _ahead(client: Redis, date: Callable[[], float]) -> float:
    began = date()
    seconds, microseconds = await client.time()
    # It was asked, on average, in the middle of the question.
    return float(seconds) + float(microseconds) / 1e6 - (began + date()) / 2


async def _scripts(client: Redis, store: Store) -> Finding:
    try:
        await client.eval(_SCRIPT, 1, f"tw:{{{store.tag or 'doctor'}}}:{secrets.token_hex(8)}", "1")
    except (RedisError, OSError) as error:
        allowed = not isinstance(error, NoPermissionError)
        cure = "see what is said of its role, memory and persistence" if allowed else _ALLOWING
        return wrong("scripts", f"a script that writes is refused: {error}", cure=cure)
    return ok("scripts", "a script may write")


def _unusable(store: Store, error: Exception) -> Finding:
    place = redacted(store.url)
    if isinstance(error, BusyLoadingError):
        return warning(store.subject, f"{place} is loading its data", cure="wait: it says in its log how far it is")
    # redis-py greets a server when it connects, and says of any refusal that it cannot connect.
    if isinstance(error.__cause__ or error, AuthenticationError | NoPermissionError):
        return wrong(store.subject, f"{place} refuses us: {error}", cure="REDIS_URL=redis://USER:PASSWORD@HOST:6379/0")
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        says = f"{place} gives no answer within {_ANSWER_SECONDS:g} s: unreachable behind a firewall, or stopped"
        return wrong(store.subject, says, cure=f"redis-cli -u {place} PING, from here and on its own machine")
    says = f"{place} cannot be used: {error}"
    cure = "start it there; or set REDIS_URL or stores.redis_url to where it is, or to nothing for the embedded one"
    return wrong(store.subject, says, cure=cure)
