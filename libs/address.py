"""Addresses that services listen on and dial: `host:port`, or `unix:` and a path."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path

_HIGHEST_PORT = 65_535
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.%A-Za-z]+\]")


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


def why_not_dialled(address: str) -> str:
    """What is wrong with an address that somebody typed, and what it should be; empty where nothing is."""
    if address.startswith("unix:"):
        return "" if address.removeprefix("unix:") else "names no socket: give unix:PATH"
    if "://" in address:
        return f"is a URL: leave {address.partition('://')[0]}:// and any path out, and give HOST:PORT"
    host, colon, port = address.rpartition(":")
    if not colon:
        return "has no port: give HOST:PORT, 127.0.0.1:50051 for example"
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= _HIGHEST_PORT):
        return f"has the port {port!r}: give a number from 1 to {_HIGHEST_PORT}"
    if _BRACKETED.fullmatch(host) or _NAME.fullmatch(host):
        return ""
    return "has an IPv6 address without brackets: give [::1]:PORT" if ":" in host else "names no host: give HOST:PORT"


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
