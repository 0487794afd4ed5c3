"""API keys in Redis behind the Keys port; only their hashes are there."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime

from redis.exceptions import RedisError

from libs.background import Background
from libs.clock import Clock
from libs.errors import Reason, TokenwayError
from libs.keys import StoredKey, from_json, redis_key, sha256_of
from libs.redis_client import RedisClient
from services.router.domain.principal import Principal

# A revoked key is refused everywhere within a second: half of it is this memory's, the rest is the way.
_REMEMBER_SECONDS = 0.5
# While Redis is away nobody can be revoked either; who was let in a minute ago still is, and the budget says no.
_TRUST_SECONDS = 60.0
# … but for an organisation that may spend meanwhile: it is not to end after a minute because of its keys.
_TRUST_OPEN_SECONDS = 3_600.0
# Of the time that a look-up has, for whoever is trusted anyway: what a frozen Redis costs here comes on top of the
# budget's 0.8 s, and the refusal is to come within a second.
_TRUSTED_SHARE = 0.2
_MAX_REMEMBERED = 10_000


class RedisKeys:
    """Asks Redis once per key and half-second. Fails closed: a key that was not checked lately is not accepted."""

    def __init__(
        self,
        redis: RedisClient,
        *,
        clock: Clock,
        background: Background,
        timeout_seconds: float,
        open_when_away: frozenset[str] = frozenset(),
    ) -> None:
        self._redis, self._clock, self._background = redis, clock, background
        self._timeout_seconds = timeout_seconds
        self._open_when_away = open_when_away
        self._remembered: OrderedDict[str, tuple[float, StoredKey]] = OrderedDict()

    async def principal(self, key: str) -> Principal:
        stored = await self._stored(sha256_of(key))
        self._check(stored)
        return Principal(
            key_id=stored.key_id,
            organisation=stored.organisation,
            user=stored.user,
            team=stored.team,
            role=stored.role,
            allowed_models=frozenset(stored.allowed_models),
        )

    async def _stored(self, sha256: str) -> StoredKey:
        asked_at, known = self._remembered.get(sha256, (0.0, None))
        age_seconds = self._clock.monotonic() - asked_at
        if known is not None and age_seconds < _REMEMBER_SECONDS:
            return known
        if known is None or age_seconds >= self._trust(known):
            return await self._found(sha256)
        # What comes too late for this one is known to the next: a Redis that is slow hides no revocation.
        asking = self._background.begin(self._found_or(known, sha256), name="look up key")
        await asyncio.wait({asking}, timeout=self._timeout_seconds * _TRUSTED_SHARE)
        found = asking.result() if asking.done() else known
        if isinstance(found, TokenwayError):
            raise found
        return found

    async def _found_or(self, trusted: StoredKey, sha256: str) -> StoredKey | TokenwayError:
        """A refusal is what it gives, and not how it fails: it is for whoever asked, and for no log."""
        try:
            return await self._found(sha256)
        except TokenwayError as error:
            return trusted if error.reason is Reason.KEY_STORE_UNAVAILABLE else error

    async def _found(self, sha256: str) -> StoredKey:
        asked_at = self._clock.monotonic()
        try:
            found = await self._fetched(sha256)
        except TokenwayError as error:
            if error.reason is Reason.KEY_UNKNOWN:
                self._remembered.pop(sha256, None)
            raise
        self._remember(sha256, asked_at, found)
        return found

    def _trust(self, known: StoredKey) -> float:
        return _TRUST_OPEN_SECONDS if known.organisation in self._open_when_away else _TRUST_SECONDS

    def _remember(self, sha256: str, asked_at: float, found: StoredKey) -> None:
        self._remembered[sha256] = asked_at, found
        self._remembered.move_to_end(sha256)
        if len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    async def _fetched(self, sha256: str) -> StoredKey:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                found = await self._redis.get(redis_key(sha256))
        except (RedisError, OSError, TimeoutError) as error:
            message = "keys cannot be checked just now, so nobody is let in; try again shortly"
            raise TokenwayError(Reason.KEY_STORE_UNAVAILABLE, message, retry_after_seconds=1.0) from error
        if found is None:
            raise TokenwayError(Reason.KEY_UNKNOWN, "the API key is not known here: check it, or ask for one")
        return from_json(found)

    def _check(self, stored: StoredKey) -> None:
        metadata = {"key_id": stored.key_id}
        if stored.revoked_at is not None:
            raise TokenwayError(
                Reason.KEY_REVOKED, f"the API key {stored.key_id} was revoked: ask for another", metadata
            )
        expires_at = stored.expires_at
        if expires_at is not None and expires_at.timestamp() <= self._clock.now():
            at = datetime.fromtimestamp(expires_at.timestamp(), UTC).isoformat()
            message = f"the API key {stored.key_id} expired at {at}: ask for another"
            raise TokenwayError(Reason.KEY_EXPIRED, message, metadata | {"expired_at": at})
