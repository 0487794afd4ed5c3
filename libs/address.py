"""Addresses that services listen on and dial: `host:port`, or `unix:` and a path."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path


def is_local(address: str) -> bool:
    """Whether only this machine can reach it: a unix socket, or loopback. Names other than `localhost` are not."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def with_port(address: str, port: int) -> str:
    """The address with the port that was really bound; a unix socket has none."""
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


def unix_socket_in_use(address: str) -> bool:
    """Whether a living server answers on a unix socket. gRPC unlinks whatever lies there: ask before."""
    path = address.removeprefix("unix:").removeprefix("//")
    if not address.startswith("unix:") or not Path(path).exists():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        return probe.connect_ex(path) == 0
