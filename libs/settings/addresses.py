"""Addresses as the file writes them: `host:port`, `[::1]:port`, `unix:PATH`."""

from __future__ import annotations

from urllib.parse import urlsplit

from libs.address import is_local

# sockaddr_un holds 108 bytes, the last of them zero.
LONGEST_UNIX_PATH_BYTES = 107
HIGHEST_PORT = 65_535


def checked(address: str) -> str:
    """The address, or a ValueError that says what is wrong with it."""
    if address.startswith("unix:"):
        length = len(address.removeprefix("unix:").encode())
        if length > LONGEST_UNIX_PATH_BYTES:
            raise ValueError(f"the path of the unix socket has {length} bytes; the most is {LONGEST_UNIX_PATH_BYTES}")
        return address
    host, _, port = address.rpartition(":")
    if int(port) > HIGHEST_PORT:
        raise ValueError(f"port {port} is too large; the most is {HIGHEST_PORT}, and 0 takes a free one")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"write an IPv6 address in brackets: [{host}]:{port}")
    return address


def takes_a_free_port(address: str) -> bool:
    """True for port 0: the kernel chooses, so two such addresses are not the same one."""
    return not address.startswith("unix:") and address.rpartition(":")[2].strip("0") == ""


def is_one_place(address: str) -> bool:
    """True when the same address twice is the same server: a fixed port of a named machine, or a unix socket."""
    host = address.rpartition(":")[0]
    return address.startswith("unix:") or not (takes_a_free_port(address) or host in ("0.0.0.0", "[::]"))  # noqa: S104 - compared, not bound


def encrypted_or_local(url: str) -> str:
    """The URL, or a ValueError: a key does not travel in the clear."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_local(f"{parts.hostname}:{parts.port or 80}"):
        raise ValueError("plain http:// would show the key and every prompt on the way: use https://, or loopback")
    return url
