"""Where the replicas of every model are, and which of them are ready. One channel per address.

Python's gRPC has no resolver of one's own, so names are resolved here: every 5 seconds, as are readiness questions
every second.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
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

Dial = Callable[[str], Client]


@dataclass(slots=True)
class Replica:
    """One address, its connection, and what is known of it."""

    address: str
    client: Client
    open_streams: int = 0
    # True until it is known better: a router that has just started must not refuse everybody.
    ready: bool = True


@dataclass(slots=True)
class _Model:
    endpoints: tuple[str, ...]
    replicas: dict[str, Replica] = field(default_factory=dict)


class Replicas:
    """Keeps replicas current while `watch` runs."""

    def __init__(self, endpoints: Mapping[str, Sequence[str]], *, dial: Dial, probe: Dial) -> None:
        self._models = {model: _Model(tuple(addresses)) for model, addresses in endpoints.items()}
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
    def chosen(self, model: str, attempt: int) -> Iterator[Client]:
        """The ready replica with the fewest open streams; among equals each attempt takes the next one."""
        replicas = sorted(self._models[model].replicas.values(), key=lambda each: each.address)
        if not replicas:
            endpoints = ", ".join(self._models[model].endpoints)
            raise TokenwayError(Reason.SERVICE_UNAVAILABLE, f"{model}: no address found behind {endpoints}")
        turned = replicas[(attempt - 1) % len(replicas) :] + replicas[: (attempt - 1) % len(replicas)]
        replica = min(turned, key=lambda each: (not each.ready, each.open_streams))
        replica.open_streams += 1
        try:
            yield replica.client
        finally:
            replica.open_streams -= 1

    async def resolve(self) -> None:
        """Looks every name up once; addresses that went away are closed when their streams have ended."""
        for model in self._models.values():
            found = {address for each in model.endpoints for address in await self._addresses(each)}
            for address in found - model.replicas.keys():
                model.replicas[address] = Replica(address, self._dial(address))
            for address in [each for each in model.replicas if each not in found]:
                if not model.replicas[address].open_streams:
                    await model.replicas.pop(address).client.close()

    async def watch(self) -> None:
        """Runs until it is cancelled."""
        rounds = 0
        while True:
            if rounds % round(_RESOLVE_SECONDS / _CHECK_SECONDS) == 0:
                await self.resolve()
            rounds += 1
            await asyncio.gather(*(self._check(each) for each in self._all()))
            await asyncio.sleep(_CHECK_SECONDS)

    async def close(self) -> None:
        """Ends every connection."""
        for replica in self._all():
            await replica.client.close()
        for client in self._probes.values():
            await client.close()

    def _all(self) -> list[Replica]:
        return [replica for model in self._models.values() for replica in model.replicas.values()]

    async def _check(self, replica: Replica) -> None:
        probe = self._probes.setdefault(replica.address, self._probe(replica.address))
        request = health_pb2.HealthCheckRequest(service=_SERVICE)
        try:
            response = await probe.unary(_CHECK, request, timeout_seconds=_CHECK_SECONDS)
            ready = response.status == health_pb2.HealthCheckResponse.SERVING
        except TokenwayError:
            ready = False
        if ready != replica.ready:
            self._log.info("replica is ready" if ready else "replica is not ready", address=replica.address)
        replica.ready = ready

    async def _addresses(self, endpoint: str) -> list[str]:
        host, _, port = endpoint.rpartition(":")
        if endpoint.startswith("unix:") or is_local(endpoint):
            return [endpoint]
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except OSError as error:
            self._log.warning("name not resolved", endpoint=endpoint, error=str(error))
            return []
        return sorted(
            {f"[{each[4][0]}]:{port}" if ":" in str(each[4][0]) else f"{each[4][0]}:{port}" for each in found}
        )
