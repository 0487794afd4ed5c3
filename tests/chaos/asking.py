"""One client's question and what comes of it; every token that came is written down."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc

from libs.errors import Reason
from libs.rpc.middleware.identity import REQUEST_ID_KEY
from libs.rpc.status import from_rpc_error
from services.inference.adapters.made_tokens import MadeTokens
from services.inference.adapters.scripted_text import tokens_of
from tests.mesh.in_process import question
from tokenway.client.router import GENERATE, STREAM_GENERATE
from tokenway.common.v1.generation_pb2 import FinishReason
from tokenway.router.v1 import router_pb2

_TIMEOUT_SECONDS = 300.0
WHOLE, LEFT, UNDER_WAY = "whole", "left", "still reading at the end"
# By gRPC, before any code of ours has heard of the call.
DROPPED = "CANCELLED by the transport"
REFUSED = str(Reason.BUDGET_EXCEEDED)


@dataclass(frozen=True, slots=True)
class Question:
    """An answer of so many tokens is asked for; `whole` is by Generate. None of `leave_after_tokens`: it stays."""

    tokens: int
    pace: float
    max_tokens: int | None
    whole: bool = False
    leave_after_tokens: int | None = None
    salt: int = 0

    @property
    def prompt(self) -> str:
        return f"[[tokens={self.tokens}]] [[pace={self.pace:.3f}]] {self.salt} why do rivers bend?"

    @property
    def input_tokens(self) -> int:
        """As the engine counts them: nobody but the engine and this file has to know."""
        return len(tokens_of(self.prompt))

    def request(self) -> router_pb2.GenerateRequest:
        asked = question(self.prompt, max_tokens=self.max_tokens or 1)
        if self.max_tokens is None:
            asked.sampling.ClearField("max_tokens")
        return asked


class Answer:
    """What one client gets. `ending` says how it ended, in words or as the Reason of the error."""

    def __init__(self, *, stream: Any, generate: Any, key: str, got: MadeTokens) -> None:
        self._stream, self._generate, self._got = stream, generate, got
        self._metadata = (("authorization", f"Bearer {key}"),)
        self.request_id, self.tokens, self.ending = "", 0, UNDER_WAY
        self.retry_after_seconds: float | None = None

    async def until_its_end(self, asked: Question) -> None:
        """However it ends; only cancelling it, which leaves, is an exception."""
        try:
            await (self._at_once(asked) if asked.whole else self._streamed(asked))
        except grpc.aio.AioRpcError as error:
            failure = from_rpc_error(error, "router")
            self.ending, self.retry_after_seconds = str(failure.reason), failure.retry_after_seconds
            if error.code() is grpc.StatusCode.CANCELLED and not error.trailing_metadata():
                self.ending = DROPPED
            self.request_id = self.request_id or _request_id(error.trailing_metadata())

    async def _at_once(self, asked: Question) -> None:
        call = self._generate(asked.request(), metadata=self._metadata, timeout=_TIMEOUT_SECONDS)
        try:
            answer = await call
        finally:
            call.cancel()
        self.request_id = answer.started.request_id
        self._came(answer.text)
        self._finished(answer.finished, asked)

    async def _streamed(self, asked: Question) -> None:
        request = router_pb2.StreamGenerateRequest(request=asked.request())
        call = self._stream(request, metadata=self._metadata, timeout=_TIMEOUT_SECONDS)
        try:
            if asked.leave_after_tokens == 0:
                await self._leave_before_the_first(call, asked)
                return
            self.request_id = _request_id(await call.initial_metadata())
            async for event in call:
                self._came("".join(event.delta.text))
                if event.HasField("finished"):
                    self._finished(event.finished, asked)
                elif asked.leave_after_tokens is not None and self.tokens >= asked.leave_after_tokens:
                    self.ending = LEFT
                    return
        finally:
            call.cancel()

    async def _leave_before_the_first(self, call: Any, asked: Question) -> None:
        # Somewhere between authentication and the first token: the question's lot says where.
        with suppress(TimeoutError):
            await asyncio.wait_for(call.initial_metadata(), asked.salt % 100 / 1_000)
        self.ending = LEFT

    def _came(self, text: str) -> None:
        """A token is a word: nobody's word is taken for how many there are."""
        tokens = len(tokens_of(text))
        if tokens:
            self._got.write(self.request_id, first=self.tokens, count=tokens)
        self.tokens += tokens

    def _finished(self, finished: router_pb2.Finished, asked: Question) -> None:
        reason = FinishReason.Name(finished.finish_reason).removeprefix("FINISH_REASON_").lower()
        whole = reason == "stop" and self.tokens == asked.tokens
        self.ending = WHOLE if whole else f"cut: {reason}"


class Asker:
    """Asks one router, over one connection."""

    def __init__(self, channel: grpc.aio.Channel, got: MadeTokens) -> None:
        self._stream, self._generate = (
            make(rpc.path, rpc.request.SerializeToString, rpc.response.FromString)
            for make, rpc in ((channel.unary_stream, STREAM_GENERATE), (channel.unary_unary, GENERATE))
        )
        self._channel, self._got = channel, got

    @property
    def is_there(self) -> bool:
        return self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    def answer(self, key: str) -> Answer:
        """To a question of that key's holder, still to be asked."""
        return Answer(stream=self._stream, generate=self._generate, key=key, got=self._got)


def _request_id(metadata: Any) -> str:
    return str(dict(metadata or ()).get(REQUEST_ID_KEY, ""))
