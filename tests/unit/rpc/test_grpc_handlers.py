"""What happens at the edge of grpc.aio when the caller is gone already."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from libs.rpc.call import Call
from libs.rpc.grpc_handlers import GrpcHandlers, OpenCalls
from libs.rpc.method import Method, Shape
from libs.rpc.routes import Route
from libs.testing.runtime import recorded_runtime

ECHO = Method("tokenway.test.v1.EchoService", "Echo", StringValue, StringValue, Shape.UNARY_UNARY)


class GoneCaller:
    """A context whose caller left before the first byte."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def time_remaining(self) -> None:
        return None

    def peer(self) -> str:
        return "nobody"

    async def send_initial_metadata(self, _: object) -> None:
        raise grpc.aio.InternalError("Failed grpc_call_start_batch")

    async def abort(self, code: grpc.StatusCode, *_: object) -> None:
        raise grpc.aio.InternalError("Failed grpc_call_start_batch")


async def echo(request: StringValue, call: Call) -> StringValue:
    return request


async def test_a_caller_that_left_before_the_first_byte_is_no_bug_of_ours() -> None:
    recorded, open_calls = recorded_runtime(), OpenCalls()
    surround = recorded.runtime.chain(public=True)
    handlers: Any = GrpcHandlers(routes=(Route(ECHO, echo),), surround=surround, open_calls=open_calls)
    with pytest.raises(asyncio.CancelledError):
        await handlers._by_path[ECHO.path].unary_unary(b"", GoneCaller())
    method = ECHO.path.removeprefix("/")
    assert recorded.sample("tokenway_rpc_requests_total", method=method, code="CANCELLED") == 1
    await open_calls.wait_until_none()
