"""The floor: a bare grpc.aio server that says what the inference service would, with nothing behind it.

python -m tests.bench.hello ADDRESS
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop

from tokenway.common.v1 import generation_pb2, money_pb2
from tokenway.inference.v1 import inference_pb2 as pb


async def generate(request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
    """As the scripted engine at full pace: Started, everything in one delta, Finished."""
    tokens = request.input.sampling.max_tokens
    yield pb.GenerateResponse(started=pb.Started(input_tokens=1))
    yield pb.GenerateResponse(delta=generation_pb2.Delta(text=[" hello"] * tokens, token_counts=[1] * tokens))
    usage = money_pb2.Usage(input_tokens=1, output_tokens=tokens)
    yield pb.GenerateResponse(finished=pb.Finished(finish_reason=generation_pb2.FINISH_REASON_STOP, usage=usage))


async def serve(address: str) -> None:
    handler = grpc.unary_stream_rpc_method_handler(
        generate,
        request_deserializer=pb.GenerateRequest.FromString,
        response_serializer=pb.GenerateResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tokenway.inference.v1.InferenceService", {"Generate": handler}),)
    )
    server.add_insecure_port(address)
    await server.start()
    print(f"ready hello={address}", flush=True)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
