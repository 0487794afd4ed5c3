"""Flights in Redis. Their keys share their organisation's hash tag with its answers:

tw:cache:{acme}:flying:<key, hex>            the token of the flight that others may follow, if there still is one
tw:cache:{acme}:flight:<key, hex>:<token>    hash: the leader's replica, whom it answers, what it knew of drops, by
                                             what its answer may be dropped, who reads; expires with the lease
tw:cache:{acme}:pieces:<key, hex>:<token>    stream: what was published, numbered; expires after the last of it
tw:cache:replica:<name>                      channel: the tokens of flights with news for that replica; with " end" to
                                             a leader's, where another has published the end

News are a wish to look, never the truth: who misses them looks a moment later.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Sequence
from typing import Any

import structlog
from redis import exceptions
from redis.asyncio import Redis

from services.cache.adapters.answer_codec import FIELDS
from services.cache.adapters.answer_keys import drops_key, entry_key, lua, names_of, prefix
from services.cache.adapters.redis_answers import RedisAnswers
from services.cache.adapters.redis_outages import Outages
from services.cache.domain.flight import GO_ON_ALONE, Flight, Follow, Lead, Leader, Progress, Standing
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import News
from services.cache.domain.selection import Selection

_SECOND_MS = 1_000
# A follower's replica may stand still for so long and still read to the end.
_KEPT_MS = 10 * _SECOND_MS
_LISTEN_AGAIN_SECONDS = 0.25


class RedisFlights:
    """Flights of one replica, whose name is new with each start: what an earlier one led is not led any more."""

    def __init__(self, *, redis: Redis, outages: Outages, answers: RedisAnswers, lease_seconds: float) -> None:
        self._redis: Any = redis  # its stubs mix the types of sync and async clients
        self._outages = outages
        self._answers = answers
        self.lease_seconds = lease_seconds
        self._lease_ms = int(lease_seconds * _SECOND_MS)
        self._channel = f"tw:cache:replica:{secrets.token_hex(8)}"
        self._board: Any = redis.register_script(lua("drops", "board"))
        self._publish: Any = redis.register_script(lua("publish"))
        self._give_back: Any = redis.register_script(lua("give_back"))
        self._log = structlog.get_logger("cache")

    async def board(
        self, flight: Flight, leader: Leader, selections: Collection[Selection]
    ) -> StoredAnswer | Lead | Follow:
        names = names_of(flight.key, selections)
        reply = await self._boarded(flight, leader, names, FIELDS)
        if reply[0] == b"stored":
            answer = self._answers.trusted(flight.key, reply[1])
            if answer is not None:
                return answer
            reply = await self._boarded(flight, leader, names, ())
        if reply[0] == b"lead":
            return Lead(flight, reply[1])
        token, request_id, traceparent = (each.decode() for each in reply[2:])
        return Follow(Flight(flight.key, token), Leader(request_id, traceparent), reply[1])

    async def _boarded(self, flight: Flight, leader: Leader, names: str, fields: Sequence[str]) -> list[Any]:
        organisation = flight.key.organisation
        entry = entry_key(organisation, flight.key.digest)
        keys = (entry, _flying(flight.key), _flight(flight), drops_key(organisation))
        lead = (flight.token, self._lease_ms, _KEPT_MS, self._channel, leader.request_id, leader.traceparent, names)
        asked = (*lead, _flight(Flight(flight.key, "")), *fields)
        async with self._outages.guarded():
            reply: list[Any] = await self._board(keys=keys, args=asked)
        return reply

    async def renew(self, flights: Sequence[Flight]) -> list[Standing]:
        async with self._outages.guarded():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for each in flights:
                    pipeline.hmget(_flight(each), "leader", "followed")
                found = await pipeline.execute()
            standings = [_standing(*values) for values in found]
            # Between the two a lead may have been given back: that is remembered a little longer, and nothing else.
            async with self._redis.pipeline(transaction=False) as pipeline:
                for each, standing in zip(flights, standings, strict=True):
                    if standing is not Standing.LOST:
                        pipeline.pexpire(_flight(each), self._lease_ms)
                        pipeline.pexpire(_flying(each.key), _KEPT_MS)
                        pipeline.pexpire(_pieces(each), _KEPT_MS)
                await pipeline.execute()
        return standings

    async def publish(self, flight: Flight, number: int, pieces: bytes, *, end: bytes | None = None) -> Standing:
        asked = (flight.token, number, pieces, "" if end is None else "end", end or b"", _KEPT_MS, self._channel)
        async with self._outages.guarded():
            reply = await self._publish(keys=(_flight(flight), _pieces(flight)), args=asked)
        return Standing(reply.decode())

    async def give_back(self, flight: Flight) -> None:
        async with self._outages.guarded():
            await self._give_back(keys=(_flight(flight),), args=(flight.token, self._lease_ms))

    async def progress(self, flight: Flight, *, after: int) -> Progress:
        # One transaction: a lead that is gone with no end published is a flight that was lost.
        async with self._outages.guarded(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hexists(_flight(flight), "leader")
            pipeline.xrange(_pieces(flight), min=f"({after}-0")
            leads, entries = await pipeline.execute()
        position, end = after, None
        for number, fields in entries:
            if int(number.partition(b"-")[0]) != position + 1:
                # Some were evicted, or lost with a Redis that failed: no answer may miss them.
                return Progress((), after, GO_ON_ALONE)
            position, end = position + 1, fields.get(b"end")
        lost = end is None and not leads
        return Progress(tuple(fields[b"pieces"] for _, fields in entries), position, end, lost)

    async def listen(self, news: News) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(self._channel)
                    async for message in channel.listen():
                        # Whoever can write to this Redis may say anything here: what is nobody's token is no news.
                        token, _, ended = message["data"].decode(errors="replace").partition(" ")
                        news(token, bool(ended))
            except (exceptions.RedisError, OSError) as error:
                self._log.debug("no news of flights", why=type(error).__name__)
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)


def _standing(leader: bytes | None, followed: bytes | None) -> Standing:
    if not leader:
        return Standing.LOST
    return Standing.FOLLOWED if followed else Standing.ALONE


def _flying(key: AnswerKey) -> str:
    return f"{prefix(key.organisation)}:flying:{key.digest.hex()}"


def _flight(flight: Flight) -> str:
    return f"{prefix(flight.key.organisation)}:flight:{flight.key.digest.hex()}:{flight.token}"


def _pieces(flight: Flight) -> str:
    return f"{prefix(flight.key.organisation)}:pieces:{flight.key.digest.hex()}:{flight.token}"
