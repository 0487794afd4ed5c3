"""Flights in Redis. Their keys share their organisation's hash tag with its answers:

tw:cache:{acme}:flight:<key, hex>            hash: the leader's token and replica, whom it answers, who reads;
                                             expires with the lease
tw:cache:{acme}:flight:<key, hex>:<token>    stream: what was published, numbered; expires after the last of it
tw:cache:replica:<name>                      channel: the tokens of flights with news for that replica; with " end" to
                                             a leader's, where another has published the end

News are a wish to look, never the truth: who misses them looks a moment later.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import structlog
from redis import exceptions
from redis.asyncio import Redis

from services.cache.adapters.answer_codec import FIELDS
from services.cache.adapters.redis_answers import RedisAnswers, entry_key, prefix
from services.cache.adapters.redis_outages import Outages
from services.cache.domain.flight import GO_ON_ALONE, Flight, Follow, Lead, Leader, Progress, Standing
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import News

_SECOND_MS = 1_000
# A follower's replica may stand still for so long and still read to the end.
_KEPT_MS = 10 * _SECOND_MS
_LISTEN_AGAIN_SECONDS = 0.25


class RedisFlights:
    """Flights of one replica, whose name is new with each start: what an earlier one led is not led any more."""

    def __init__(self, *, redis: Redis, outages: Outages, answers: RedisAnswers, lease_seconds: float = 2.0) -> None:
        self._redis: Any = redis  # its stubs mix the types of sync and async clients
        self._outages = outages
        self._answers = answers
        self.lease_seconds = lease_seconds
        self._lease_ms = int(lease_seconds * _SECOND_MS)
        self._channel = f"tw:cache:replica:{secrets.token_hex(8)}"
        scripts: tuple[Any, ...] = tuple(redis.register_script(lua(each)) for each in ("board", "publish", "give_back"))
        self._board, self._publish, self._give_back = scripts
        self._log = structlog.get_logger("cache")

    async def board(self, flight: Flight, leader: Leader) -> StoredAnswer | Lead | Follow:
        reply = await self._boarded(flight, leader, FIELDS)
        if reply[0] == b"stored":
            answer = self._answers.trusted(flight.key, reply[1])
            if answer is not None:
                return answer
            reply = await self._boarded(flight, leader, ())
        if reply[0] == b"lead":
            return Lead(flight)
        token, request_id, traceparent = (each.decode() for each in reply[1:])
        return Follow(Flight(flight.key, token), Leader(request_id, traceparent))

    async def _boarded(self, flight: Flight, leader: Leader, fields: Sequence[str]) -> list[Any]:
        keys = (entry_key(flight.key.organisation, flight.key.digest), _flight(flight.key))
        asked = (flight.token, self._lease_ms, self._channel, leader.request_id, leader.traceparent, *fields)
        async with self._outages.guarded():
            reply: list[Any] = await self._board(keys=keys, args=asked)
        return reply

    async def renew(self, flights: Sequence[Flight]) -> list[Standing]:
        async with self._outages.guarded():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for each in flights:
                    pipeline.hmget(_flight(each.key), "token", "followed")
                found = await pipeline.execute()
            standings = [_standing(each, *values) for each, values in zip(flights, found, strict=True)]
            # Between the two another may have come to lead: its lease is then a little longer, and nothing else.
            async with self._redis.pipeline(transaction=False) as pipeline:
                for each, standing in zip(flights, standings, strict=True):
                    if standing is not Standing.LOST:
                        pipeline.pexpire(_flight(each.key), self._lease_ms)
                        pipeline.pexpire(_pieces(each), _KEPT_MS)
                await pipeline.execute()
        return standings

    async def publish(self, flight: Flight, number: int, pieces: bytes, *, end: bytes | None = None) -> Standing:
        asked = (flight.token, number, pieces, "" if end is None else "end", end or b"", _KEPT_MS, self._channel)
        async with self._outages.guarded():
            reply = await self._publish(keys=(_flight(flight.key), _pieces(flight)), args=asked)
        return Standing(reply.decode())

    async def give_back(self, flight: Flight) -> None:
        async with self._outages.guarded():
            await self._give_back(keys=(_flight(flight.key),), args=(flight.token,))

    async def progress(self, flight: Flight, *, after: int) -> Progress:
        # One transaction: a lead that is gone with no end published is a flight that was lost.
        async with self._outages.guarded(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hget(_flight(flight.key), "token")
            pipeline.xrange(_pieces(flight), min=f"({after}-0")
            leads, entries = await pipeline.execute()
        position, end = after, None
        for number, fields in entries:
            if int(number.partition(b"-")[0]) != position + 1:
                # Some were evicted, or lost with a Redis that failed: no answer may miss them.
                return Progress((), after, GO_ON_ALONE)
            position, end = position + 1, fields.get(b"end")
        lost = end is None and leads != flight.token.encode()
        return Progress(tuple(fields[b"pieces"] for _, fields in entries), position, end, lost)

    async def listen(self, news: News) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(self._channel)
                    async for message in channel.listen():
                        token, _, ended = message["data"].decode().partition(" ")
                        news(token, bool(ended))
            except (exceptions.RedisError, OSError) as error:
                self._log.debug("no news of flights", why=type(error).__name__)
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)


def lua(name: str) -> str:
    """The text of a script."""
    return (files("services.cache.adapters") / "lua" / f"{name}.lua").read_text()


def _standing(flight: Flight, token: bytes | None, followed: bytes | None) -> Standing:
    if token != flight.token.encode():
        return Standing.LOST
    return Standing.FOLLOWED if followed else Standing.ALONE


def _flight(key: AnswerKey) -> str:
    return f"{prefix(key.organisation)}:flight:{key.digest.hex()}"


def _pieces(flight: Flight) -> str:
    return f"{_flight(flight.key)}:{flight.token}"
