"""A Fill whose answer has those who wait for it: they get it as it comes, and all of it once it is stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from services.cache.domain.draft import AnswerFailed, FillEvent, FillOrder, NotUnderstood
from services.cache.domain.fill import Fill
from services.cache.domain.flight import GO_ON_ALONE, Flight
from services.cache.domain.key import exact_key
from services.cache.domain.model import AnswerEnd, AnswerPart
from services.cache.domain.relay import Relay
from services.cache.domain.single_flight import SingleFlight
from services.cache.domain.stats import FillResult


@dataclass(frozen=True, slots=True)
class Received:
    """An event of a Fill, and the message that followers get of it; empty where there is none."""

    event: FillEvent
    message: bytes = b""


class LiveFill:
    """Fill, and its leader's flight. Followers get every end that the leader sends, also of what may not be stored.

    After a failure they go on alone.
    """

    def __init__(self, *, fill: Fill, single_flight: SingleFlight | None = None) -> None:
        self._fill, self._single_flight = fill, single_flight

    async def store(self, received: AsyncIterator[Received]) -> FillResult:
        """As Fill does; a stream that breaks off gives the lead back."""
        first = await anext(received, None)
        order = first.event if first is not None else None
        if self._single_flight is None or not isinstance(order, FillOrder) or not order.lead_token:
            async with aclosing(_events(first, received)) as events:
                return await self._fill.store(events)
        async with self._single_flight.relay(Flight(exact_key(order.question), order.lead_token)) as relay:
            relayed = _Relayed(relay)
            async with aclosing(relayed.events(first, received)) as events:
                result = await self._fill.store(events)
                # What is not to be stored is still to be handed on.
                async for _ in events:
                    pass
            if relayed.end is not None:
                await relay.finish(relayed.end)
            return result


class _Relayed:
    """Hands on what passes by."""

    def __init__(self, relay: Relay) -> None:
        self.end: bytes | None = None
        self._relay, self._understood = relay, True

    async def events(self, first: Received | None, rest: AsyncIterator[Received]) -> AsyncGenerator[FillEvent]:
        async with aclosing(_all(first, rest)) as received:
            async for each in received:
                self._pass(each)
                yield each.event

    def _pass(self, received: Received) -> None:
        match received.event:
            case AnswerPart() if self._understood:
                self._relay.add(received.message)
            case AnswerEnd():
                self.end = received.message if self._understood else GO_ON_ALONE
            case AnswerFailed():
                self.end = GO_ON_ALONE
            case NotUnderstood():
                self._understood = False


async def _events(first: Received | None, rest: AsyncIterator[Received]) -> AsyncGenerator[FillEvent]:
    async with aclosing(_all(first, rest)) as received:
        async for each in received:
            yield each.event


async def _all(first: Received | None, rest: AsyncIterator[Received]) -> AsyncGenerator[Received]:
    if first is not None:
        yield first
    async for each in rest:
        yield each
