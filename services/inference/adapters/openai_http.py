"""The HTTP to a provider: one request, and the events of its response as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

import aiohttp

from libs.settings.schema import OpenAiEngine as OpenAiSettings
from services.inference.adapters.openai_errors import ProviderErrors
from services.inference.adapters.openai_events import MalformedError, ServerSentEvents
from services.inference.adapters.openai_request import Body

_EVENT_STREAM = "text/event-stream"
# Enough for any error object; a gateway's page is cut off.
_MAX_ERROR_BYTES = 64 << 10


class Patience:
    """How long the next token may take: the first, then each after its predecessor. A slow reader costs none of it."""

    def __init__(self, *, first_token_seconds: float, idle_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_seconds = idle_seconds
        self._until = self._loop.time() + first_token_seconds

    def renew(self) -> None:
        """A token has come, and its reader wants the next."""
        self._until = self._loop.time() + self._idle_seconds

    def waiting(self) -> asyncio.Timeout:
        """TimeoutError once it is at an end."""
        return asyncio.timeout_at(self._until)


class OpenAiHttp:
    """One pool of connections to one provider. Follows no redirect: the key goes where the operator said."""

    def __init__(self, settings: OpenAiSettings, *, headers: Mapping[str, str], errors: ProviderErrors) -> None:
        self._url = f"{settings.base_url.rstrip('/')}/chat/completions"
        self._errors = errors
        self._session = aiohttp.ClientSession(
            # Compression would hold tokens back until a block is full.
            headers={**headers, "Accept": _EVENT_STREAM, "Accept-Encoding": "identity"},
            connector=aiohttp.TCPConnector(limit=0),  # the engine's turns are the limit
            cookie_jar=aiohttp.DummyCookieJar(),  # no request knows of another
            timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_seconds),
        )

    async def answer(self, body: Body, *, patience: Patience, input_tokens: int) -> AsyncGenerator[str]:
        """The data of each event. Closing it closes the connection at once, which is how a provider hears of it."""
        async with patience.waiting():
            response = await self._session.post(self._url, json=body, allow_redirects=False)
        try:
            if response.status != 200 or response.content_type != _EVENT_STREAM:
                async with patience.waiting():
                    await self._refuse(response, input_tokens)
            events = ServerSentEvents()
            while True:
                async with patience.waiting():
                    received = await response.content.readany()
                for data in events.feed(received) if received else events.close():
                    yield data
                if not received:
                    return
        finally:
            response.close()

    async def close(self) -> None:
        await self._session.close()

    async def _refuse(self, response: aiohttp.ClientResponse, input_tokens: int) -> None:
        body = b""
        while len(body) < _MAX_ERROR_BYTES and (received := await response.content.readany()):
            body += received
        if response.status == 200:
            raise MalformedError("its provider sends something other than a stream of events")
        raise self._errors.refused(response.status, response.headers, body, input_tokens=input_tokens)
