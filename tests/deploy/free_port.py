"""A port for programs that do not say which one they took, so that they cannot be given 0."""

from __future__ import annotations

import socket


def free_port() -> int:
    """On loopback; nobody else is kept from taking it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
