"""What is read off a whole answer."""

from __future__ import annotations

from tokenway.client import Answer, FinishReason
from tokenway.common.v1 import generation_pb2 as pb
from tokenway.router.v1.router_pb2 import Finished, GenerateResponse


def test_every_reason_to_finish_has_its_name() -> None:
    assert {each.removeprefix("FINISH_REASON_") for each in pb.FinishReason.keys()} == set(FinishReason)  # noqa: SIM118 # not a mapping


def test_a_reason_of_a_newer_mesh_is_no_error() -> None:
    response = GenerateResponse(text="hello")
    response.finished.MergeFromString(b"\x08\x63")  # finish_reason = 99
    assert response.finished != Finished()
    assert Answer(response).finish_reason is FinishReason.UNSPECIFIED
