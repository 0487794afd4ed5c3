"""The process that asks: bare grpc.aio clients, the same for every target, so that the servers make the difference.

Takes orders (load.Order) from standard input, a line of JSON each, and answers each with a line (load.Seen).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
import uuid
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import uvloop

from libs.rpc.channel import dial
from libs.rpc.method import method
from libs.rpc.middleware.mesh_guard import MESH_TOKEN_KEY
from libs.testing.runtime import MESH_TOKEN
from tests.bench.load import Order, Seen
from tests.mesh.in_process import KEY, question
from tokenway.client.router import STREAM_GENERATE
from tokenway.common.v1 import generation_pb2
from tokenway.inference.v1 import inference_pb2
from tokenway.router.v1 import router_pb2

GENERATE = method(
    inference_pb2.DESCRIPTOR,
    "InferenceService",
    "Generate",
    inference_pb2.GenerateRequest,
    inference_pb2.GenerateResponse,
)
_TIMEOUT_SECONDS = 60.0
_SUBJECT = "why do rivers bend, and what would a patient teacher draw first? " * 4
# A caller whose own trace was sampled out: the mesh follows it.
_UNTRACED = ("traceparent", f"00-{'1' * 32}-{'2' * 16}-00")


class WrongAnswerError(Exception):
    """An answer that is not whole, or not the one asked for."""


@dataclass(slots=True)
class Answer:
    """One stream, as its client sees it."""

    began_at: float = field(default_factory=time.perf_counter)
    first_token_at: float = 0.0
    tokens: int = 0
    deltas: int = 0
    started: Any = None
    finished: Any = None

    async def read(self, events: AsyncIterable[Any]) -> float:
        """To its end, which is returned. Both services name their events alike."""
        async for event in events:
            kind = event.WhichOneof("event")
            if kind == "delta":
                self.first_token_at = self.first_token_at or time.perf_counter()
                self.deltas += 1
                self.tokens += sum(event.delta.token_counts)
            else:
                setattr(self, kind, getattr(event, kind))
        return time.perf_counter()

    def check(self, order: Order) -> None:
        reason = self.finished and self.finished.finish_reason
        if order.prompt_bytes:
            whole = reason in (generation_pb2.FINISH_REASON_STOP, generation_pb2.FINISH_REASON_LENGTH)
        else:
            whole = reason == generation_pb2.FINISH_REASON_STOP and self.tokens == order.tokens
        if not whole:
            raise WrongAnswerError(f"{self.tokens} of {order.tokens} tokens, then {self.finished or 'no last message'}")
        if order.target != "router":
            return
        verdict = router_pb2.CACHE_VERDICT_HIT if order.repeats else router_pb2.CACHE_VERDICT_MISS
        if self.started.cache_verdict != verdict:
            raise WrongAnswerError(f"expected {router_pb2.CacheVerdict.Name(verdict)}, not {self.started}")


class Callers:
    """Clients of one target, over one connection."""

    def __init__(self, channel: grpc.aio.Channel, *, of_router: bool) -> None:
        rpc = STREAM_GENERATE if of_router else GENERATE
        self._call = channel.unary_stream(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
        self._request: Callable[[str, Order], Any] = _of_router if of_router else _of_inference
        self._asked = 0
        self._metadata = ("authorization", f"Bearer {KEY}") if of_router else (MESH_TOKEN_KEY, MESH_TOKEN)

    async def carry_out(self, order: Order) -> Seen:
        prompts = _prompts(order)
        if order.repeats:
            await self._answer(next(prompts), order)  # from now on the cache has it
        seen = Seen()
        began_at = time.perf_counter()
        async with asyncio.TaskGroup() as clients:
            for _ in range(order.clients):
                clients.create_task(self._ask_on(order, prompts, began_at + order.seconds, seen))
        seen.seconds = time.perf_counter() - began_at
        return seen

    async def _ask_on(self, order: Order, prompts: Iterator[str], until: float, seen: Seen) -> None:
        while True:
            answer, ended_at = await self._answer(next(prompts), order)
            answer.check(order)
            seen.first_token_seconds.append(answer.first_token_at - answer.began_at)
            seen.answer_seconds.append(ended_at - answer.began_at)
            seen.tokens += answer.tokens
            seen.deltas += answer.deltas
            if time.perf_counter() >= until:
                return

    async def _answer(self, prompt: str, order: Order) -> tuple[Answer, float]:
        request = self._request(prompt, order)
        self._asked += 1
        traced = self._asked * order.traced_percent % 100 < order.traced_percent
        metadata = (self._metadata,) if traced else (self._metadata, _UNTRACED)
        answer = Answer()
        return answer, await answer.read(self._call(request, metadata=metadata, timeout=_TIMEOUT_SECONDS))


def _prompts(order: Order) -> Iterator[str]:
    if order.prompt_bytes:
        while True:
            yield noise(order.prompt_bytes)
    told = f"[[tokens={order.tokens}]] [[pace={order.pace}]]"
    batch = "the same" if order.repeats else uuid.uuid4().hex
    number = 0
    while True:
        yield f"{told} {batch} {number}: {_SUBJECT}"
        number += not order.repeats


def noise(size_bytes: int) -> str:
    """Letters that no cache has seen."""
    return secrets.token_hex(size_bytes)[:size_bytes]


def _of_router(prompt: str, order: Order) -> router_pb2.StreamGenerateRequest:
    return router_pb2.StreamGenerateRequest(request=question(prompt, max_tokens=order.tokens))


def _of_inference(prompt: str, order: Order) -> inference_pb2.GenerateRequest:
    asked = question(prompt, max_tokens=order.tokens)
    given = generation_pb2.GenerationInput(conversation=asked.conversation, sampling=asked.sampling)
    return inference_pb2.GenerateRequest(request_id=uuid.uuid4().hex, model="small", input=given, attempt=1)


async def take_orders(addresses: dict[str, str]) -> None:
    async with AsyncExitStack() as stack:
        callers = {
            name: Callers(await stack.enter_async_context(dial(address)), of_router=name == "router")
            for name, address in addresses.items()
        }
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = Order(**json.loads(line))
            print(json.dumps(asdict(await callers[order.target].carry_out(order))), flush=True)


def main() -> None:
    wrong: list[Exception] = []
    try:
        uvloop.run(take_orders(json.loads(sys.argv[1])))
    except* (WrongAnswerError, grpc.aio.AioRpcError) as errors:
        wrong.extend(errors.exceptions)
    if wrong:
        sys.exit(f"{len(wrong)} wrong answers; the first: {wrong[0]!r}")


if __name__ == "__main__":
    main()
