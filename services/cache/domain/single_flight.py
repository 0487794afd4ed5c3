"""One generation for all who ask the same at the same time: what this replica leads, and what it follows."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from libs.background import Background
from libs.clock import Clock
from libs.errors import TokenwayError
from services.cache.domain.eligibility import BypassReason
from services.cache.domain.flight import Flight, Follow, Lead, Leader, Standing
from services.cache.domain.followed import Followed
from services.cache.domain.key import AnswerKey
from services.cache.domain.leading import Leading
from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import Flights
from services.cache.domain.relay import Relay
from services.cache.domain.selection import Selection
from services.cache.domain.stats import FlightEvent, Stats

# A lease bears the loss of several renewals.
_RENEWALS_A_LEASE = 4


@dataclass(frozen=True, slots=True)
class Boarded:
    """What a caller is for now. The flight has its events; one that it followed and that is lost is to board again."""

    verdict: StoredAnswer | BypassReason | Lead | Follow | None
    flight: Leading | Followed | None = None
    # Where there is no answer: see AnswerStore.
    as_of: int = 0

    @property
    def lost(self) -> bool:
        return isinstance(self.flight, Followed) and self.flight.lost


@dataclass(slots=True)
class _Asking:
    """Those who ask the same at once, one after the other; and what the last who asked was told, if it holds for all
    who had come before it asked.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    present: int = 0
    times: int = 0
    told: StoredAnswer | Follow | None = None


class SingleFlight:
    """`run` renews what is led and hears of followers, until it is cancelled; without it leads run out.

    More than `max_followers` at a time are not taken: they generate for themselves.
    """

    def __init__(
        self,
        *,
        flights: Flights,
        background: Background,
        clock: Clock,
        stats: Stats,
        max_answer_bytes: int,
        max_followers: int = 10_000,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._flights, self._background, self._clock, self._stats = flights, background, clock, stats
        self._max_answer_bytes, self._max_followers, self._sleep = max_answer_bytes, max_followers, sleep
        self._led: dict[str, Leading] = {}
        self._followed: dict[str, Followed] = {}
        self._asking: dict[AnswerKey, _Asking] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._flights.listen(self._hear), name="news of flights")
            both.create_task(self._keep_leading(), name="leases of flights")

    @asynccontextmanager
    async def boarded(
        self, key: AnswerKey, leader: Leader, selections: Collection[Selection]
    ) -> AsyncIterator[Boarded]:
        """The answer, or a lead, or whom to follow; None where there are too many followers. A lead that is not over is
        given back at the block's end, also where the caller was cancelled before it knew of it.
        """
        boarded = await self._board(key, leader, selections)
        match boarded:
            case Lead():
                with self._leading(boarded.flight) as leading:
                    yield Boarded(boarded, leading, boarded.as_of)
            case Follow() if self._stats.followers < self._max_followers:
                with self._following(boarded) as followed:
                    yield Boarded(boarded, followed, boarded.as_of)
            case Follow():
                yield Boarded(None, as_of=boarded.as_of)
            case _:
                yield Boarded(boarded)

    async def _board(
        self, key: AnswerKey, leader: Leader, selections: Collection[Selection]
    ) -> StoredAnswer | Lead | Follow:
        """Of many who ask the same at once one asks Redis who leads, another whom to follow, and the rest go along.

        What was asked before somebody came does not hold for it: by then an answer may have been dropped, also one that
        is being generated.
        """
        asking = self._asking.setdefault(key, _Asking())
        came_after, asking.present = asking.times, asking.present + 1
        try:
            async with asking.turn:
                if asking.told is None or asking.times == came_after:
                    asking.told, asking.times = None, asking.times + 1
                    boarded = await self._asked(key, leader, selections)
                    asking.told = None if isinstance(boarded, Lead) else boarded
                    return boarded
                return asking.told
        finally:
            asking.present -= 1
            if not asking.present:
                del self._asking[key]

    async def _asked(
        self, key: AnswerKey, leader: Leader, selections: Collection[Selection]
    ) -> StoredAnswer | Lead | Follow:
        flight = Flight(key, uuid.uuid4().hex)
        try:
            return await self._flights.board(flight, leader, selections)
        except (asyncio.CancelledError, TokenwayError):
            self._give_back(flight)
            raise

    @contextmanager
    def _leading(self, flight: Flight) -> Iterator[Leading]:
        leading = self._led[flight.token] = Leading(flight)
        try:
            yield leading
        finally:
            del self._led[flight.token]
            self._leave(leading)

    @contextmanager
    def _following(self, follow: Follow) -> Iterator[Followed]:
        followed = self._followed.get(follow.flight.token) or self._follow(follow)
        followed.followers += 1
        self._stats.followers += 1
        self._stats.flew(FlightEvent.FOLLOWED)
        try:
            yield followed
        finally:
            self._stats.followers -= 1
            followed.followers -= 1
            if not followed.followers:
                self._leave_followed(followed)

    def _leave_followed(self, followed: Followed) -> None:
        flight = followed.follow.flight
        del self._followed[flight.token]
        followed.close()

    def _follow(self, follow: Follow) -> Followed:
        followed = Followed(flights=self._flights, follow=follow, clock=self._clock)
        self._followed[follow.flight.token] = followed
        followed.reader = self._background.begin(followed.read(), name="flight")
        return followed

    @asynccontextmanager
    async def relay(self, flight: Flight) -> AsyncIterator[Relay]:
        """For what its leader sends; left before the relay is finished, it is given back."""
        leading = self._led.get(flight.token)
        if leading is None:
            # Led at another replica, which cannot say here whether anybody follows.
            leading = Leading(flight)
            leading.follow()
        try:
            async with Relay(
                flights=self._flights, leading=leading, max_bytes=self._max_answer_bytes, on_lost=self._lost
            ) as relay:
                yield relay
        finally:
            self._leave(leading)

    def _leave(self, leading: Leading) -> None:
        if not leading.over:
            self._lost(leading)
            self._give_back(leading.flight)

    def _lost(self, leading: Leading) -> None:
        if leading.followed and not leading.over:
            self._stats.flew(FlightEvent.BROKEN)
        leading.end()

    def _hear(self, token: str, ended: bool) -> None:  # the port's
        if (leading := self._led.get(token)) is not None:
            if ended:
                leading.end()
            else:
                self._is_followed(leading)
        if (followed := self._followed.get(token)) is not None:
            followed.look()

    async def _keep_leading(self) -> None:
        while True:
            await self._sleep(self._flights.lease_seconds / _RENEWALS_A_LEASE)
            led = list(self._led.values())
            with suppress(TokenwayError):  # the next time, perhaps
                standings = await self._flights.renew([each.flight for each in led]) if led else []
                for leading, standing in zip(led, standings, strict=True):
                    self._stands(leading, standing)

    def _stands(self, leading: Leading, standing: Standing) -> None:
        if standing is Standing.FOLLOWED:
            self._is_followed(leading)
        elif standing is Standing.LOST:
            self._lost(leading)

    def _is_followed(self, leading: Leading) -> None:
        if not leading.followed:
            self._stats.flew(FlightEvent.LED)
        leading.follow()

    def _give_back(self, flight: Flight) -> None:
        """In the background: whoever led it may be leaving."""
        _ = self._background.begin(self._given_back(flight), name="give a flight back")

    async def _given_back(self, flight: Flight) -> None:
        with suppress(TokenwayError):  # it runs out by itself
            await self._flights.give_back(flight)
