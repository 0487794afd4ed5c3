"""What a status may carry: it travels in a header, and not everything is the caller's business."""

from __future__ import annotations

import grpc
import pytest

from libs.errors import FieldViolation, Reason, TokenwayError, invalid_request
from libs.rpc.status import from_rpc_error, from_status, to_status

# gRPC's own limit of all trailing metadata, by default; a message goes there percent-encoded, and the status again.
HEADER_BYTES = 8_192


def header_bytes(error: TokenwayError) -> int:
    status = to_status(error, "0" * 32)
    encoded = sum(1 if 0x20 <= byte < 0x7F and byte != 0x25 else 3 for byte in status.message.encode())
    return encoded + status.ByteSize() * 4 // 3


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀", "%"])
def test_the_longest_error_still_fits_into_a_header(letter: str) -> None:
    long = letter * 20_000
    error = invalid_request(*(FieldViolation(f"request.{long}", long) for _ in range(500)))
    error.metadata = {f"model-{number}-{long}": long for number in range(100)}
    assert header_bytes(error) < HEADER_BYTES - 1_024, "with room for a receipt"
    assert from_status(to_status(error)).reason is Reason.INVALID_REQUEST
    assert from_status(to_status(error)).message.endswith("…")


def test_what_grpc_says_of_a_peer_stays_inside_the_mesh() -> None:
    bare = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(),
        details="failed to connect to all addresses; last error: ipv4:10.1.2.3:50061",
    )
    error = from_rpc_error(bare, "inference")
    assert error.reason is Reason.SERVICE_UNAVAILABLE
    assert "10.1.2.3" not in str(error)
    assert "inference" in error.message
