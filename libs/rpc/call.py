"""One inbound call, as handlers and middleware see it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from libs.rpc.method import Shape

Kind = TypeVar("Kind")

# A trailer of the router's answers, router.proto says what it holds.
SOFT_LIMITS_KEY = "x-tokenway-soft-limits"


@dataclass(slots=True)
class Call:
    """What is known of a call beside its messages."""

    path: str
    shape: Shape
    metadata: Mapping[str, str]
    peer: str
    # time.monotonic() at which the caller stops waiting; None: the caller set no deadline.
    deadline: float | None = None
    request_id: str = ""
    # Sent before the first message, and after the last; middleware may add to both.
    initial_metadata: dict[str, str] = field(default_factory=dict)
    trailing_metadata: dict[str, str] = field(default_factory=dict)
    # Details that go out with the status if the call fails: what a failed but billed call has cost.
    attachments: list[object] = field(default_factory=list)
    # What the sending of messages has taken so far: long where the caller is slow to read.
    sending_seconds: float = 0.0
    _facts: dict[type, Any] = field(default_factory=dict)

    def put(self, fact: object) -> None:
        """Leaves a fact for those further in: a Principal, by its type."""
        self._facts[type(fact)] = fact

    def get(self, kind: type[Kind]) -> Kind:
        """The fact of that type; KeyError if nobody put it."""
        return self._facts[kind]  # type: ignore[no-any-return]

    def remaining_seconds(self) -> float | None:
        """Seconds until the deadline, below zero when it has passed; None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()


# Surrounds a call: sees it begin and end, and never its messages. So one piece serves every shape, and a stream of a
# thousand messages pays for it once.
Middleware = Callable[[Call], AbstractAsyncContextManager[None]]

UnaryHandler = Callable[[Any, Call], Awaitable[Message]]
StreamHandler = Callable[[Any, Call], AsyncIterator[Message]]
# By the response's side; a streamed request arrives as an AsyncIterator of messages.
Handler = UnaryHandler | StreamHandler

# What outbound calls inherit from the inbound one that they serve.
current_deadline: ContextVar[float | None] = ContextVar("current_deadline", default=None)
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
