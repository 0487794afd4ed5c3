"""What gRPC says of a router that did not answer, in words that help: the address, the cause, what to do."""

from __future__ import annotations

import re
from dataclasses import replace

import grpc

from libs.errors import FieldViolation, TokenwayError, invalid_request
from libs.rpc.status import DETAILS_KEY, from_rpc_error

_TOO_LARGE = re.compile(r"larger than max \((\d+) vs\. (\d+)\)")
# A part of gRPC's own words, and ours; the first that fits.
_CAUSES = (
    ("errors resolving", "no address is known for that name: check how it is written"),
    ("Connection refused", "nothing listens there: start the mesh, or give the address at which it listens"),
    ("No such file", "there is no such socket: start the mesh, or give the address at which it listens"),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS there: give its TLS port; plaintext is for this machine alone"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted: name the authority that signed it as the CA file"),
    ("Hostname Verification", "its certificate is for another name: give the address by a name that it has"),
    ("Connection reset", "it hung up: it is no router, or wants TLS: name its authority as the CA file"),
    ("Socket closed", "it hung up: it is no router, or wants TLS: name its authority as the CA file"),
    ("SETTINGS frame", "it says nothing that gRPC understands: it is no router, or wants TLS"),
    ("timed out", "nobody answers there: check the address, and what is between"),
)
_UNKNOWN = "check that a router listens there, and whether it wants TLS"
# While gRPC says so, no request was sent.
_CONNECTING = ("errors resolving", "failed to connect", "all backends failing")


def router_error(error: grpc.aio.AioRpcError, address: str) -> TokenwayError:
    """What a failed call to the router at the address means. What the router itself said stays as it is."""
    found = from_rpc_error(error, "router")
    if DETAILS_KEY in dict(error.trailing_metadata() or ()):
        return found
    said = error.details() or ""
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return replace(found, message=f"router: {_unavailable(said, address)}")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return replace(found, message=f"router: no answer from {address} in the time that was given; allow more")
        case grpc.StatusCode.UNIMPLEMENTED:
            return replace(found, message=f"router: {address} knows no such call: it is no router, or an older one")
        case grpc.StatusCode.RESOURCE_EXHAUSTED if size := _TOO_LARGE.search(said):
            has, most = (int(each) for each in size.groups())
            return invalid_request(FieldViolation("request", f"has {has:,} bytes: send at most {most:,}"))
    return found


def _unavailable(said: str, address: str) -> str:
    if not any(each in said for each in _CONNECTING):
        return f"the connection to {address} broke off; what was delivered may be billed; ask again"
    return f"cannot be reached at {address}: {next((says for words, says in _CAUSES if words in said), _UNKNOWN)}"
