"""One request: how its caller meant it to end, and what the caller saw of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from libs.errors import Reason
from tests.mesh.in_process import KEY
from tokenway.common.v1 import money_pb2
from tokenway.router.v1 import router_pb2


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and when its caller leaves: never, after some time, or once it has seen enough."""

    request: router_pb2.GenerateRequest
    key: str = KEY
    deadline_seconds: float = 60.0
    leave_after_seconds: float | None = None
    leave_once: Callable[[Seen], bool] = lambda _: False


@dataclass(slots=True)
class Seen:
    """What the caller saw. Times are nanoseconds since 1970, like a span's; `code` is gRPC's name of the end.

    `maker` is the trace of the request whose answer this one should be given again; empty: of none.
    """

    ending: str
    router: str
    trace_id: str
    span_id: str
    sent_at: int
    # When the caller's own patience ends, wherever its request is by then.
    deadline_at: int
    maker: str = ""
    ended_at: int = 0
    code: str = "OK"
    # OK, or a Reason.
    reason: str = "OK"
    left: bool = False
    request_id: str = ""
    started: router_pb2.Started | None = field(default=None, repr=False)
    finished: router_pb2.Finished | None = field(default=None, repr=False)
    receipt: money_pb2.Receipt | None = field(default=None, repr=False)
    deltas: int = 0

    @property
    def cached(self) -> bool:
        """Whether the router said that the answer is a stored one."""
        return self.started is not None and self.started.cache_verdict == router_pb2.CACHE_VERDICT_HIT

    def event(self, event: router_pb2.StreamGenerateResponse) -> None:
        """The next one of the stream."""
        match event.WhichOneof("event"):
            case "started":
                self.started = event.started
            case "delta":
                self.deltas += 1
            case "finished":
                self.finished, self.receipt = event.finished, event.finished.receipt

    def leave(self) -> None:
        """The caller's own doing."""
        self.left, self.code, self.reason = True, "CANCELLED", Reason.CANCELLED
