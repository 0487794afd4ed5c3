"""Flights in memory, as all replicas of a test share them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from libs.clock import Clock
from libs.testing.answers import InMemoryAnswers
from services.cache.domain.flight import Flight, Follow, Lead, Leader, Progress, Standing
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import News
from services.cache.domain.selection import Selection


@dataclass(slots=True)
class _Lease:
    flight: Flight
    leader: Leader
    replica: InMemoryFlights
    ends_at: float
    selections: Collection[Selection]
    as_of: int
    number: int = 0
    readers: set[InMemoryFlights] = field(default_factory=set)


class Sky:
    """What the replicas have in common."""

    def __init__(self, *, answers: InMemoryAnswers, clock: Clock) -> None:
        self.answers, self.clock = answers, clock
        # By token; of each question the one that may be followed.
        self.leases: dict[str, _Lease] = {}
        self.followable: dict[AnswerKey, str] = {}
        self.given_back: set[str] = set()
        self.pieces: dict[str, list[bytes]] = {}
        self.ends: dict[str, bytes] = {}

    def lease(self, flight: Flight) -> _Lease | None:
        """If it has not run out."""
        found = self.leases.get(flight.token)
        return found if found is not None and found.ends_at > self.clock.monotonic() else None

    def to_follow(self, key: AnswerKey) -> _Lease | None:
        """None where nobody leads, or what its answer belongs to was dropped since."""
        lease = self.lease(Flight(key, self.followable.get(key, "")))
        if lease is None or self.answers.dropped(key, lease.selections, as_of=lease.as_of):
            return None
        return lease


class InMemoryFlights:
    """The Flights of one replica. `error` is raised by every call while it is set: the store is away."""

    def __init__(self, sky: Sky, *, lease_seconds: float = 2.0) -> None:
        self.lease_seconds = lease_seconds
        self.error: Exception | None = None
        self._sky = sky
        self._news: News = lambda token, ended: None

    async def board(
        self, flight: Flight, leader: Leader, selections: Collection[Selection]
    ) -> StoredAnswer | Lead | Follow:
        self._fail_if_away()
        answer = await self._sky.answers.get(flight.key)
        if answer is not None:
            return answer
        as_of = await self._sky.answers.as_of(flight.key.organisation)
        lease = self._sky.to_follow(flight.key)
        if lease is None:
            if flight.token not in self._sky.given_back:
                self._sky.leases[flight.token] = _Lease(flight, leader, self, self._end_of_lease(), selections, as_of)
                self._sky.followable[flight.key] = flight.token
            return Lead(flight, as_of)
        if not lease.readers:
            lease.replica.hear(lease.flight.token)
        lease.readers.add(self)
        return Follow(lease.flight, lease.leader, as_of)

    async def renew(self, flights: Sequence[Flight]) -> list[Standing]:
        self._fail_if_away()
        return [self._renewed(each) for each in flights]

    async def publish(self, flight: Flight, number: int, pieces: bytes, *, end: bytes | None = None) -> Standing:
        self._fail_if_away()
        lease = self._led(flight)
        if lease is None:
            return Standing.LOST
        if lease.readers and number > lease.number:
            lease.number = number
            self._sky.pieces.setdefault(flight.token, []).append(pieces)
            if end is not None:
                self._sky.ends[flight.token] = end
            self._tell(lease)
        if end is not None:
            del self._sky.leases[flight.token]
            if lease.replica is not self:
                lease.replica.hear(flight.token, ended=True)
        return Standing.FOLLOWED if lease.readers else Standing.ALONE

    async def give_back(self, flight: Flight) -> None:
        self._fail_if_away()
        lease = self._led(flight)
        self._sky.given_back.add(flight.token)
        if lease is not None:
            del self._sky.leases[flight.token]
            self._tell(lease)

    async def progress(self, flight: Flight, *, after: int) -> Progress:
        self._fail_if_away()
        pieces = self._sky.pieces.get(flight.token, [])
        end = self._sky.ends.get(flight.token)
        lost = end is None and self._led(flight) is None
        return Progress(tuple(pieces[after:]), max(after, len(pieces)), end, lost)

    async def listen(self, news: News) -> None:
        self._news = news
        await asyncio.Event().wait()

    def hear(self, token: str, *, ended: bool = False) -> None:
        """There is news of a flight."""
        self._news(token, ended)

    def _renewed(self, flight: Flight) -> Standing:
        lease = self._led(flight)
        if lease is None:
            return Standing.LOST
        lease.ends_at = self._end_of_lease()
        return Standing.FOLLOWED if lease.readers else Standing.ALONE

    def _led(self, flight: Flight) -> _Lease | None:
        lease = self._sky.lease(flight)
        return lease if lease is not None and lease.flight == flight else None

    def _tell(self, lease: _Lease) -> None:
        for reader in lease.readers:
            reader.hear(lease.flight.token)

    def _end_of_lease(self) -> float:
        return self._sky.clock.monotonic() + self.lease_seconds

    def _fail_if_away(self) -> None:
        if self.error is not None:
            raise self.error
