"""What stands before the replicas of the budget: each call goes to any one that is there, as a mesh's proxy would do.

So one request's Reserve, Extends and Settle come to different processes. Nothing is tried again.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc

from libs.rpc.channel import dial, server_options

_OF_THE_HOP = frozenset({"user-agent"})


@asynccontextmanager
async def balancer(listen: str, addresses: Sequence[str], *, seed: int) -> AsyncIterator[None]:
    """Serves at `listen` while the block runs."""
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(dial(each)) for each in addresses]
        server = grpc.aio.server(options=server_options(public=False))
        server.add_generic_rpc_handlers((_Spread(channels, random.Random(seed)),))
        server.add_insecure_port(listen)
        await server.start()
        stack.push_async_callback(server.stop, None)
        yield


class _Spread(grpc.GenericRpcHandler):
    """Unary calls, as the bytes that they are."""

    def __init__(self, channels: Sequence[grpc.aio.Channel], lot: random.Random) -> None:
        self._channels, self._random = channels, lot

    def service(self, details: Any) -> Any:
        async def forward(request: bytes, context: Any) -> bytes:
            return await self._forward(details.method, request, context)

        return grpc.unary_unary_rpc_method_handler(forward)

    async def _forward(self, method: str, request: bytes, context: Any) -> bytes:
        metadata = tuple(each for each in context.invocation_metadata() if each[0] not in _OF_THE_HOP)
        forwarded: Any = self._chosen().unary_unary(method)
        call = forwarded(request, metadata=metadata, timeout=context.time_remaining())
        try:
            answer: bytes = await call
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
            raise AssertionError("abort raises") from error
        return answer

    def _chosen(self) -> grpc.aio.Channel:
        states = [(each.get_state(try_to_connect=True), each) for each in self._channels]
        there = [each for state, each in states if state is grpc.ChannelConnectivity.READY]
        return self._random.choice(there or list(self._channels))
