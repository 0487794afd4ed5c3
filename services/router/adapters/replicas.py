"""Where the replicas of every model are, and which of them are ready. One channel per address.

Python's gRPC has no resolver of one's own, so names are resolved here: every 5 seconds, as are readiness questions
every second.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from grpc_health.v1 import health_pb2

from libs.address import is_local
from libs.errors import Reason, TokenwayError
from libs.rpc.client import Client
from libs.rpc.method import Method, Shape
from tokenway.inference.v1 import inference_pb2

_RESOLVE_SECONDS = 5.0
_CHECK_SECONDS = 1.0
_SERVICE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name
_CHECK = Method(
    "grpc.health.v1.Health", "Check", health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse, Shape.UNARY_UNARY
)

# Connects to an address, which was found behind a host of that name (None: by itself).
Dial = Callable[[str, str | None], Client]
# The addresses behind `host:port`; an OSError when nobody can tell.
Resolve = Callable[[str], Awaitable[Sequence[str]]]
Sleep = Callable[[float], Awaitable[None]]


async def addresses_of(endpoint: str) -> Sequence[str]:
    """By the system's resolver; an address of this machine stands for itself."""
    host, _, port = endpoint.rpartition(":")
    if is_local(endpoint):
        return [endpoint]
    found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    hosts = sorted({str(each[4][0]) for each in found})
    return [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in hosts]


@dataclass(slots=True)
class Replica:
    """One address, its connection, and what is known of it."""

    address: str
    host: str | None
    client: Client
    open_streams: int = 0
    # True until it is known better: a router that has just started must not refuse everybody.
    ready: bool = True
    # Its name does not lead here any more: no new streams, and the connection ends with the last one.
    leaving: bool = False


@dataclass(slots=True)
class _Model:
    # What each endpoint resolved to when it last did.
    endpoints: dict[str, Sequence[str]]
    replicas: dict[str, Replica] = field(default_factory=dict)


class Replicas:
    """Keeps replicas current while `watch` runs."""

    def __init__(
        self, endpoints: Mapping[str, Sequence[str]], *, dial: Dial, probe: Dial, resolve: Resolve = addresses_of
    ) -> None:
        self._models = {model: _Model(dict.fromkeys(names, ())) for model, names in endpoints.items()}
        self._resolve = resolve
        # Readiness is asked on a client of its own, whose spans go nowhere.
        self._dial, self._probe = dial, probe
        self._probes: dict[str, Client] = {}
        self._log = structlog.get_logger("replicas")

    def ready(self, model: str) -> bool:
        """Whether any replica was ready when last asked."""
        return any(each.ready for each in self._models[model].replicas.values())

    def count(self, model: str) -> int:
        return len(self._models[model].replicas)

    @contextmanager
    def chosen(self, model: str, tried: set[str]) -> Iterator[Client]:
        """The ready replica with the fewest open streams among those not `tried`, to which it is added.

        One that was tried, is leaving or is not ready is better than none.
        """
        if not self._models[model].replicas:
            endpoints = ", ".join(self._models[model].endpoints)
            raise TokenwayError(Reason.SERVICE_UNAVAILABLE, f"{model}: no address found behind {endpoints}")
        replica = min(
            self._models[model].replicas.values(),
            key=lambda each: (each.address in tried, each.leaving, not each.ready, each.open_streams, each.address),
        )
        tried.add(replica.address)
        replica.open_streams += 1
        try:
            yield replica.client
        finally:
            replica.open_streams -= 1

    async def resolve(self) -> None:
        """Looks every name up once; addresses that went away are closed when their streams have ended."""
        for model in self._models.values():
            await self._look_up(model)
            found = {address: name for name, addresses in model.endpoints.items() for address in addresses}
            for address in sorted(found.keys() - model.replicas.keys()):
                host = None if found[address] == address else found[address].rpartition(":")[0]
                model.replicas[address] = Replica(address, host, self._dial(address, host))
            for replica in tuple(model.replicas.values()):
                replica.leaving = replica.address not in found
                if replica.leaving and not replica.open_streams:
                    await self._drop(model, replica)

    async def check(self) -> None:
        """Asks every replica once whether it is ready."""
        # Their connections at once: in the next moment a replica may be gone.
        asked = [(each, self._probe_of(each)) for each in self._all()]
        await asyncio.gather(*(self._check(*each) for each in asked))

    async def watch(self, *, sleep: Sleep = asyncio.sleep) -> None:
        """Runs until it is cancelled; whatever else happens is logged, and the next round tries again.

        One beside the other: a resolver that takes its time keeps nobody from being asked whether it is ready.
        """
        async with asyncio.TaskGroup() as both:
            both.create_task(self._rounds(self.resolve, _RESOLVE_SECONDS, sleep), name="resolve replicas")
            both.create_task(self._rounds(self.check, _CHECK_SECONDS, sleep), name="check replicas")

    async def close(self) -> None:
        """Ends every connection."""
        for replica in self._all():
            await replica.client.close()
        for client in self._probes.values():
            await client.close()

    async def _rounds(self, look: Callable[[], Awaitable[None]], every_seconds: float, sleep: Sleep) -> None:
        while True:
            try:
                await look()
            except Exception as error:
                self._log.error("replicas not looked after in this round", exc_info=error)
            await sleep(every_seconds)

    def _all(self) -> list[Replica]:
        return [replica for model in self._models.values() for replica in model.replicas.values()]

    async def _look_up(self, model: _Model) -> None:
        """What cannot be resolved just now keeps the addresses that it had."""
        for endpoint in model.endpoints:
            try:
                model.endpoints[endpoint] = await self._resolve(endpoint)
            except (OSError, UnicodeError) as error:
                self._log.warning("name not resolved", endpoint=endpoint, error=str(error))

    async def _drop(self, model: _Model, replica: Replica) -> None:
        del model.replicas[replica.address]
        await replica.client.close()
        if replica.address in self._probes:
            await self._probes.pop(replica.address).close()

    def _probe_of(self, replica: Replica) -> Client:
        if replica.address not in self._probes:
            self._probes[replica.address] = self._probe(replica.address, replica.host)
        return self._probes[replica.address]

    async def _check(self, replica: Replica, probe: Client) -> None:
        request = health_pb2.HealthCheckRequest(service=_SERVICE)
        try:
            response = await probe.unary(_CHECK, request, timeout_seconds=_CHECK_SECONDS)
            ready = response.status == health_pb2.HealthCheckResponse.SERVING
        except TokenwayError:
            ready = False
        if ready != replica.ready:
            self._log.info("replica is ready" if ready else "replica is not ready", address=replica.address)
        replica.ready = ready
