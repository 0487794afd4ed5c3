"""The router's calls, as the protos have them, with a key."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from opentelemetry.trace import NoOpTracer

from libs.address import is_local, why_not_dialled
from libs.errors import Reason, TokenwayError
from libs.rpc.channel import dial
from libs.rpc.client import Client, Stream
from libs.rpc.method import method
from libs.rpc.tls import Trust
from tokenway.client.unreached import router_error
from tokenway.router.v1 import router_pb2
from tokenway.router.v1.router_pb2 import (
    ExplainRouteRequest,
    ExplainRouteResponse,
    GenerateRequest,
    GenerateResponse,
    ListModelsRequest,
    ListModelsResponse,
    ReportBadHitRequest,
    ReportBadHitResponse,
    StreamGenerateRequest,
    StreamGenerateResponse,
)

_LONGEST_SHOWN = 100
_FILE, _SERVICE = router_pb2.DESCRIPTOR, "RouterService"
STREAM_GENERATE = method(_FILE, _SERVICE, "StreamGenerate", StreamGenerateRequest, StreamGenerateResponse)
GENERATE = method(_FILE, _SERVICE, "Generate", GenerateRequest, GenerateResponse)
EXPLAIN_ROUTE = method(_FILE, _SERVICE, "ExplainRoute", ExplainRouteRequest, ExplainRouteResponse)
REPORT_BAD_HIT = method(_FILE, _SERVICE, "ReportBadHit", ReportBadHitRequest, ReportBadHitResponse)
LIST_MODELS = method(_FILE, _SERVICE, "ListModels", ListModelsRequest, ListModelsResponse)


class RouterClient:
    """Every failure is a TokenwayError. Nothing is retried."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def close(self) -> None:
        """Ends the connection; calls in flight fail."""
        await self._client.close()

    def stream_generate(
        self, request: GenerateRequest, *, timeout_seconds: float | None = None
    ) -> AbstractAsyncContextManager[Stream[StreamGenerateResponse]]:
        """Started, deltas, Finished. Leaving the block early cancels the generation."""
        return self._client.stream(
            STREAM_GENERATE, StreamGenerateRequest(request=request), timeout_seconds=timeout_seconds
        )

    async def generate(self, request: GenerateRequest, *, timeout_seconds: float | None = None) -> GenerateResponse:
        """A whole answer."""
        return await self._client.unary(GENERATE, request, timeout_seconds=timeout_seconds)

    async def explain_route(self, request: GenerateRequest, *, timeout_seconds: float) -> ExplainRouteResponse:
        """Where the request would go."""
        question = ExplainRouteRequest(request=request)
        return await self._client.unary(EXPLAIN_ROUTE, question, timeout_seconds=timeout_seconds)

    async def report_bad_hit(self, request_id: str, *, timeout_seconds: float) -> bool:
        """Evicts the cached answer that the request got; False when it is gone already."""
        request = ReportBadHitRequest(request_id=request_id)
        return (await self._client.unary(REPORT_BAD_HIT, request, timeout_seconds=timeout_seconds)).evicted

    async def list_models(self, *, timeout_seconds: float) -> ListModelsResponse:
        """The models that the key may use."""
        return await self._client.unary(LIST_MODELS, ListModelsRequest(), timeout_seconds=timeout_seconds)


def calling(address: str, *, key: str, tls: bool | None = None, ca_file: Path | None = None) -> Client:
    """Calls with the key, in the trace of whoever makes them. Connects at the first one.

    TLS by default wherever a key would leave this machine; `ca_file` names the authority to trust, None: the system's.
    """
    if wrong := why_not_dialled(address):
        raise TokenwayError(Reason.INVALID_REQUEST, f"the router's address {address[:_LONGEST_SHOWN]!r} {wrong}")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise TokenwayError(Reason.INVALID_REQUEST, "the API key is none: give one word, without the end of its line")
    secure = (ca_file is not None or not is_local(address)) if tls is None else tls
    metadata = {"authorization": f"Bearer {key}"}
    # It records nothing, and passes the current span on: the router's spans are children of the caller's own.
    channel = dial(address, tls=Trust(_authority(ca_file)) if secure else None)
    error_of = partial(router_error, address=address)
    return Client(channel, service="router", tracer=NoOpTracer(), metadata=metadata, error_of=error_of)


def _authority(ca_file: Path | None) -> Path | None:
    """The file, once it is known to hold certificates: gRPC would find out at the handshake, and not say so."""
    try:
        if ca_file is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
    except ssl.SSLError:
        wrong = "holds no certificate: give the authority's, in PEM"
    except OSError as error:
        wrong = f"cannot be read: {error.strerror}"
    else:
        return ca_file
    raise TokenwayError(Reason.INVALID_REQUEST, f"the CA file {ca_file} {wrong}")
