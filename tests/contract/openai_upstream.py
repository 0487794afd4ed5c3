"""A provider with OpenAI's API on loopback: real HTTP, the scripted engine's words, and whatever fault a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from aiohttp import web

from services.inference.adapters.scripted_text import StopText, endless_answer, tokens_of

MAX_MODEL_TOKENS = 512
Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"


@dataclass
class Upstream:
    """`respond` is what the next request gets; the default answers it, a token a millisecond, without end."""

    url: str = ""
    bodies: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    # Set when a client has closed its connection before it had the whole response.
    left: asyncio.Event = field(default_factory=asyncio.Event)
    respond: Callable[[web.Request, Json], Awaitable[web.StreamResponse]] | None = None
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def asked(self, requests: int) -> None:
        """Returns once so many have come in all."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.bodies) >= requests)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.bodies.append(asked)
        self.headers.append(dict(request.headers))
        async with self._news:
            self._news.notify_all()
        try:
            return await (self.respond or answered)(request, asked)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    running = Upstream()
    application = web.Application()
    application.router.add_post("/v1/chat/completions", running.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        running.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield running
    finally:
        await runner.cleanup()


def chunk(delta: Json | None = None, *, finish_reason: str | None = None, **beside: Any) -> bytes:
    """One event, as providers send it."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish_reason} | beside
    return event({"object": "chat.completion.chunk", "choices": [choice], "usage": None})


def usage(prompt: int, completion: int, **beside: Any) -> bytes:
    counted = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion} | beside
    return event({"object": "chat.completion.chunk", "choices": [], "usage": counted})


def event(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


async def streaming(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    return response


def said(*parts: bytes | float, cut: bool = False) -> Callable[[web.Request, Json], Awaitable[web.StreamResponse]]:
    """A response of exactly these bytes; a number is a pause in seconds. `cut` ends it by closing the connection."""

    async def respond(request: web.Request, _: Json) -> web.StreamResponse:
        response = await streaming(request)
        for part in parts:
            if isinstance(part, bytes):
                await response.write(part)
            else:
                await asyncio.sleep(part)
        if cut:
            assert request.transport is not None
            request.transport.abort()
        return response

    return respond


def refused(
    status: int, body: Json | str = "", **headers: str
) -> Callable[[web.Request, Json], Awaitable[web.StreamResponse]]:
    """A response without an answer. Underscores in a header's name are hyphens."""
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def respond(_: web.Request, __: Json) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=named)

    return respond


async def answered(request: web.Request, asked: Json) -> web.StreamResponse:
    """An answer that ends with `max_tokens`, the context or a stop sequence, whichever comes first."""
    assert asked["stream"]
    assert asked["stream_options"] == {"include_usage": True}
    prompt = "\n".join(each["content"] for each in asked["messages"])
    read = len(tokens_of(prompt))
    most = min(asked["max_tokens"], MAX_MODEL_TOKENS - read)
    stop = StopText(tuple(asked.get("stop", ())))
    response = await streaming(request)
    await response.write(chunk({"role": "assistant", "content": ""}))
    made = 0
    for word in islice(endless_answer(prompt), most):
        made += 1
        await response.write(b"".join(_token(word, stop.take(word, last=made == most), asked)))
        await asyncio.sleep(0.001)
        if stop.found:
            break
    await response.write(chunk(finish_reason="stop" if stop.found else "length") + usage(read, made) + DONE)
    return response


def _token(word: str, text: str, asked: Json) -> Iterator[bytes]:
    """Nothing while its text is held back, as providers do."""
    if asked.get("logprobs"):
        likely = {"token": word, "logprob": -0.1}
        yield chunk({"content": text}, logprobs={"content": [likely | {"top_logprobs": [likely]}]})
    elif text:
        yield chunk({"content": text})
