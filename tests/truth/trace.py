"""One trace as the judge looks at it: its spans by what they are, and who is below whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from libs.telemetry import names
from libs.telemetry.span import EndedSpan, SpanKind
from services.mesh.trace.tree import Node, forest
from tests.truth.endings import ATTEMPT

ROUTER, INFERENCE = "tokenway-router", "tokenway-inference"
# Who serves each proto's service.
_SERVERS = {
    "RouterService": ROUTER,
    "CacheService": "tokenway-cache",
    "BudgetService": "tokenway-budget",
    "InferenceService": INFERENCE,
}


def code(span: EndedSpan) -> str:
    """How a call ended, as this side of it says: gRPC's name."""
    return str(span.attributes.get(names.RPC_RESPONSE_STATUS_CODE, ""))


def error_type(span: EndedSpan) -> str:
    """A Reason; empty where nothing went wrong."""
    return str(span.attributes.get(names.ERROR_TYPE, ""))


def kind(span: EndedSpan) -> str:
    """What a span is, in a word: the RPC's name, `attempt`, or its own name."""
    rpc = str(span.attributes.get(names.RPC_METHOD, "")).rpartition("/")[2]
    if span.kind is SpanKind.CLIENT and rpc == "Generate":
        return ATTEMPT
    return rpc or span.name


def server_of(span: EndedSpan) -> str:
    """The service that an RPC's span is about."""
    service = str(span.attributes.get(names.RPC_METHOD, "")).rpartition("/")[0].rpartition(".")[2]
    return _SERVERS.get(service, "")


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans that came, and the tree that they make; `root` is the caller's own span."""

    spans: Sequence[EndedSpan]
    root: Node | None
    others: Sequence[Node] = field(repr=False)

    @classmethod
    def of(cls, spans: Sequence[EndedSpan], *, root: str) -> Trace:
        """`root` is the id of the span that the caller made."""
        tops = forest(spans)
        roots = [each for each in tops if each.span.span_id == root]
        return cls(spans, roots[0] if roots else None, [each for each in tops if each.span.span_id != root])

    @property
    def nodes(self) -> Iterator[Node]:
        for top in (*((self.root,) if self.root else ()), *self.others):
            yield from top.walk()

    @property
    def router(self) -> Node | None:
        """The router's own span of the request."""
        found = [each for each in self.nodes if each.span.kind is SpanKind.SERVER and server_of(each.span) == ROUTER]
        return found[0] if found else None

    @property
    def ended_at(self) -> int:
        return max(each.end_unix_nanos for each in self.spans)
