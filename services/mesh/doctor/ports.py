"""The addresses that `tokenway up` would listen on: free, or held, and by whom."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from libs.address import is_local, unix_socket_in_use
from services.mesh.doctor.check import InThread
from services.mesh.doctor.finding import Finding, Verdict, ok, skipped, wrong
from services.mesh.doctor.patient import Patient
from services.mesh.doctor.port_holder import holder_of
from services.mesh.state_directory import StateDirectory

if TYPE_CHECKING:
    from libs.settings.schema import Settings

_FIRST_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def check(patient: Patient) -> InThread:
    addresses = dict(listening(patient.settings)) if patient.settings else {}
    return InThread(Ports(addresses=addresses, state=patient.state))


def listening(settings: Settings) -> Iterator[tuple[str, str]]:
    """What the file fixes; the rest goes to free ports, and to sockets in a new folder."""
    services = settings.services
    yield "services.router.listen", services.router.listen
    for name, inner in (("cache", services.cache), ("budget", services.budget)):
        # As the plan of `tokenway up` has it: without certificates an open address becomes a socket.
        if "listen" in inner.model_fields_set or settings.mesh_tls is not None:
            yield f"services.{name}.listen", inner.listen
    for name, each in (("router", services.router), ("cache", services.cache), ("budget", services.budget)):
        yield f"services.{name}.metrics", each.metrics
    for model in settings.models:
        # An engine elsewhere is started elsewhere.
        here = [each for each in model.endpoints if is_local(each)]
        if model.engine is not None and here:
            yield from ((f"models.{model.name}.endpoints[{index}]", each) for index, each in enumerate(here))
            yield f"models.{model.name}.metrics", model.metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """`addresses` by the field that names them. What the mesh of `state` holds is as it should be."""

    name: ClassVar[str] = "ports"
    limit_seconds: ClassVar[float] = 10
    addresses: Mapping[str, str]
    state: StateDirectory

    def findings(self) -> Iterator[Finding]:
        fixed = {field: address for field, address in self.addresses.items() if not _is_free_choice(address)}
        if not fixed:
            yield skipped("addresses", "the configuration fixes none: the kernel gives free ones")
        for field, address in fixed.items():
            yield self._socket(field, address) if address.startswith("unix:") else self._port(field, address)

    def held(self) -> Iterator[Finding]:
        """Those on which somebody else listens: no mesh can start beside that."""
        for field, address in self.addresses.items():
            if not (_is_free_choice(address) or address.startswith("unix:")) and _is_held(address):
                finding = self._held(field, address, int(address.rpartition(":")[2]))
                yield from (finding,) if finding.verdict is Verdict.WRONG else ()

    def _socket(self, field: str, address: str) -> Finding:
        path = Path(address.removeprefix("unix:").removeprefix("//"))
        if not path.parent.is_dir():
            return wrong(field, f"{address}: there is no folder {path.parent}", cure=f"mkdir -p {path.parent}")
        if not unix_socket_in_use(address):
            return ok(field, f"{address} is free")
        if self.state.running() is not None:
            return ok(field, f"{address} answers: the mesh that runs here")
        return wrong(field, f"{address}: another server answers there", cure=f"end it, or change {field}")

    def _port(self, field: str, address: str) -> Finding:
        try:
            _bind(address)
        except socket.gaierror as error:
            return wrong(field, f"{address} names no address: {error.strerror}", cure=f"give {field} an IP address")
        except OSError as error:
            return self._refused(field, address, error)
        return ok(field, f"{address} is free")

    def _refused(self, field: str, address: str, error: OSError) -> Finding:
        port = int(address.rpartition(":")[2])
        match error.errno:
            case errno.EADDRINUSE:
                return self._held(field, address, port)
            case errno.EACCES | errno.EPERM:
                says = f"{address}: ports below {_first_unprivileged()} are for root"
                cure = f"give {field} a higher port, or: sudo sysctl net.ipv4.ip_unprivileged_port_start={port}"
                return wrong(field, says, cure=cure)
            case errno.EADDRNOTAVAIL:
                return wrong(
                    field, f"{address} is no address of this machine", cure=f"give {field} one that `ip a` shows"
                )
        return wrong(field, f"{address}: {error.strerror}", cure=f"give {field} another address")

    def _held(self, field: str, address: str, port: int) -> Finding:
        holder = holder_of(port)
        if holder is None:
            cure = f"sudo ss -ltnp 'sport = :{port}' names it; end it, or change {field}"
            return wrong(field, f"{address} is in use, by a process of another user", cure=cure)
        # Every service of a mesh is started with the configuration in its state directory.
        if str(self.state.configuration_file) in holder.command:
            return ok(field, f"{address} is held by the mesh that runs here (pid {holder.pid})")
        says = f"{address} is in use by pid {holder.pid}, {holder.program}"
        return wrong(field, says, cure=f"kill {holder.pid}, or change {field}")


def _is_free_choice(address: str) -> bool:
    return not address.startswith("unix:") and int(address.rpartition(":")[2]) == 0


def _is_held(address: str) -> bool:
    try:
        _bind(address)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _bind(address: str) -> None:
    """OSError when nobody could listen there. As gRPC does, which is not kept by connections that just ended."""
    host, _, port = address.rpartition(":")
    for family, kind, protocol, _, where in socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(where)


def _first_unprivileged() -> str:
    try:
        return _FIRST_UNPRIVILEGED.read_text().strip()
    except OSError:
        return "1024"
