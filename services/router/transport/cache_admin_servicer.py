"""AdminService's calls about the cache: the caller's organisation is added, and the cache service does the rest."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from libs.rpc.call import Call
from libs.rpc.client import Client
from libs.rpc.method import Method, method
from services.router.domain.generate import Generate
from services.router.transport.administrator import Audit, administrator
from services.router.transport.convert import explanation_to_proto
from services.router.transport.question import ask_from_proto
from tokenway.cache.v1 import cache_pb2
from tokenway.router.v1 import admin_pb2 as pb

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

# Nobody's answer waits for it, and a hundred thousand answers are dropped in steps.
_TIMEOUT_SECONDS = 10.0


def _of_cache(name: str, request: type[Request], response: type[Response]) -> Method[Request, Response]:
    return method(cache_pb2.DESCRIPTOR, "CacheService", name, request, response)


_GET_STATS = _of_cache("GetStats", cache_pb2.GetStatsRequest, cache_pb2.GetStatsResponse)
_INVALIDATE = _of_cache("Invalidate", cache_pb2.InvalidateRequest, cache_pb2.InvalidateResponse)


class CacheAdminServicer:
    """The cache of the caller's organisation. Whoever asks here is told when it is away: nothing fails open."""

    def __init__(self, *, cache: Client, generate: Generate, audit: Audit, max_prompt_bytes: int) -> None:
        self._cache = cache
        self._generate = generate
        self._audit = audit
        self._max_prompt_bytes = max_prompt_bytes

    async def GetCacheStats(self, request: pb.GetCacheStatsRequest, call: Call) -> pb.GetCacheStatsResponse:
        forwarded = cache_pb2.GetStatsRequest(organisation=administrator(call).organisation)
        stats = await self._ask(_GET_STATS, forwarded)
        return pb.GetCacheStatsResponse(
            **{field.name: getattr(stats, field.name) for field in pb.GetCacheStatsResponse.DESCRIPTOR.fields}
        )

    async def InvalidateCache(self, request: pb.InvalidateCacheRequest, call: Call) -> pb.InvalidateCacheResponse:
        admin = administrator(call)
        what = request.WhichOneof("what")
        forwarded = cache_pb2.InvalidateRequest(organisation=admin.organisation, model_revision=request.model_revision)
        if what:
            setattr(forwarded, what, getattr(request, what))
        dropped = (await self._ask(_INVALIDATE, forwarded)).dropped
        # Of what the cache has taken, so neither is longer than a label.
        named = "all answers" if request.all else f"answers of {what} {getattr(request, str(what))}"
        named += f", revision {request.model_revision}" if request.model_revision else ""
        self._audit.changed(admin, "InvalidateCache", f"{named}: {dropped} dropped")
        return pb.InvalidateCacheResponse(dropped=dropped)

    async def ExplainCache(self, request: pb.ExplainCacheRequest, call: Call) -> pb.ExplainCacheResponse:
        principal = administrator(call)
        ask = ask_from_proto(request.request, max_prompt_bytes=self._max_prompt_bytes, within=request)
        return explanation_to_proto(await self._generate.explain_cache(ask, principal))

    async def _ask(self, asked: Method[Request, Response], request: Request) -> Response:
        return await self._cache.unary(asked, request, timeout_seconds=_TIMEOUT_SECONDS)
