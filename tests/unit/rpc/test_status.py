"""The error table in both directions."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status

from libs.errors import FieldViolation, QuotaViolation, Reason, TokenwayError
from libs.rpc.status import CODES, INTERNAL_MESSAGE, from_rpc_error, from_status, receipt_of, to_status
from tokenway.common.v1.error_pb2 import ErrorReason
from tokenway.common.v1.money_pb2 import Receipt


def test_every_reason_of_the_proto_is_one_of_ours_and_has_a_code() -> None:
    documented = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name}
    assert documented == {*Reason, "UNSPECIFIED"}
    assert set(CODES) == set(Reason)


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.INTERNAL])
def test_an_error_survives_the_way_over_the_wire(reason: Reason) -> None:
    error = TokenwayError(
        reason,
        "what was wrong",
        metadata={"limit": "10"},
        retry_after_seconds=1.5,
        fields=(FieldViolation("request.model", "is unknown"),),
        quotas=(QuotaViolation("key:ci", "spent"),),
    )
    received = from_status(Status.FromString(to_status(error, "a-request").SerializeToString()))
    assert vars(received) == vars(error)


def test_an_internal_error_keeps_its_cause_to_itself() -> None:
    status = to_status(TokenwayError(Reason.INTERNAL, "password=hunter2", metadata={"prompt": "secret"}), "a-request")
    assert status.message == INTERNAL_MESSAGE
    assert from_status(status).metadata == {"request_id": "a-request"}


def test_a_receipt_travels_with_the_error_of_a_billed_call() -> None:
    billed = TokenwayError(Reason.STREAM_BROKEN, "broke off", attachments=(Receipt(cost_micro_usd=7),))
    received = from_status(to_status(billed))
    found = receipt_of(received, Receipt)
    assert isinstance(found, Receipt)
    assert found.cost_micro_usd == 7
    assert receipt_of(received, RequestInfo) is None


def test_a_retry_delay_is_never_rounded_down() -> None:
    received = from_status(to_status(TokenwayError(Reason.QUEUE_FULL, "", retry_after_seconds=0.00001)))
    assert received.retry_after_seconds == 0.001


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, Reason.SERVICE_UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.OUT_OF_TIME),
        (grpc.StatusCode.CANCELLED, Reason.SERVICE_UNAVAILABLE),
        (grpc.StatusCode.UNIMPLEMENTED, Reason.NOT_SERVED),
        (grpc.StatusCode.UNKNOWN, Reason.INTERNAL),
    ],
)
@pytest.mark.parametrize("details", [None, b"\xff\xff not a status"])
def test_a_status_without_our_details_is_read_by_its_code(
    code: grpc.StatusCode, reason: Reason, details: bytes | None
) -> None:
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", details)) if details else grpc.aio.Metadata()
    error = from_rpc_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details="no route"), "budget")
    assert error.reason is reason
    assert error.message in {"budget: cannot be reached", f"budget: answered {code.name}"}
