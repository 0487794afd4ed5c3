"""Which organisations may have open leases, for the sweeper, or receipts, for the trimmer: hints, in their own slot."""

from __future__ import annotations

from typing import Any

from libs.clock import Clock
from libs.redis_client import RedisClient

_KEY = "tw:organisations"
# Without a lease for long, but with a ledger still. In the same slot.
_SILENT = "{tw:organisations}:silent"
# An organisation is announced before its reservation, at most once in this time by each process …
_ANNOUNCED_SECONDS = 600
# … and forgotten long after, and only without a lease: so none that has one is ever forgotten.
_FORGOTTEN_SECONDS = 3_600
_FORGET = """
local announced = redis.call('ZSCORE', KEYS[1], ARGV[1])
if announced and tonumber(announced) < tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('SADD', KEYS[2], ARGV[1])
end
"""


class RedisOrganisations:
    """A sorted set of organisations by the second in which a reservation was last announced for them."""

    def __init__(self, *, redis: RedisClient, clock: Clock) -> None:
        self._redis: Any = redis  # its stubs mix the types of sync and async clients
        self._clock = clock
        self._announce_again_at: dict[str, float] = {}

    async def announce(self, organisation: str) -> None:
        """To be called before a lease is given, so that the sweeper finds it even if this process dies right after."""
        if self._clock.monotonic() < self._announce_again_at.get(organisation, 0):
            return
        await self._redis.zadd(_KEY, {organisation: self._clock.now()}, gt=True)
        self._announce_again_at[organisation] = self._clock.monotonic() + _ANNOUNCED_SECONDS

    async def announced(self) -> list[str]:
        """Those that may have open leases."""
        return [str(each) for each in await self._redis.zrange(_KEY, 0, -1)]

    async def silent(self) -> set[str]:
        """Those that were forgotten, and have had receipts since they were last known to have none."""
        return {str(each) for each in await self._redis.smembers(_SILENT)}

    async def ended(self, organisation: str) -> None:
        """To be called when it has no receipt any more. One that comes back is announced before it has one."""
        await self._redis.srem(_SILENT, organisation)

    async def forget(self, organisation: str) -> None:
        """To be called when it has no open lease; takes effect long after the last announcement."""
        before = self._clock.now() - _FORGOTTEN_SECONDS
        await self._redis.eval(_FORGET, 2, _KEY, _SILENT, organisation, before)
