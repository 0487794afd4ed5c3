"""Holds the counters in Redis against the ledger, while requests go on.

The ledger is read in steps, from its checkpoint to its end. Then some counters at a time are read at one instant with
the receipts since and the open reservations: all that they must add up to. So no step is long, nobody waits for it, and
a difference is one that there was at that instant.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence

from libs.redis_client import RedisClient
from services.budget.adapters.redis_hashes import hash_in_steps
from services.budget.adapters.redis_ledger import key_of
from services.budget.adapters.redis_scripts import OrganisationScript
from services.budget.adapters.redis_snapshots import (
    BEGINNING,
    WANTED,
    Open,
    Snapshot,
    counter_name,
    counter_place,
    place,
    rate_key,
    rate_name,
    snapshot,
    sums_of,
)
from services.budget.domain.limits import Kind
from services.budget.domain.notes import RateName, RateSums, in_window, is_told
from services.budget.domain.verification import (
    CounterName,
    Difference,
    Finding,
    Progress,
    Sums,
    Verified,
    compared,
    compared_day,
    counters_at,
    day_is_kept,
    is_kept,
    minute_counter,
    minute_is_told,
)
from services.budget.domain.windows import Window

_RECEIPTS_A_STEP = 1_000
_COUNTERS_A_STEP = 500
_KEYS_A_STEP = 1_000
# Each is up to 61 buckets.
_RATES_A_STEP = 50
# So that the open reservations are looked at where there are no rates.
_ANY = RateName("organisation:", Kind.REQUESTS, Window.TOTAL)


class OvertakenError(Exception):
    """Receipts were trimmed that have not been read yet: they are in the checkpoint by now, and not in ours."""


class RedisVerification:
    """One verification of one organisation. OvertakenError: begin anew, with another."""

    def __init__(
        self,
        organisation: str,
        *,
        redis: RedisClient,
        names: OrganisationScript,
        snapshot: OrganisationScript,
        timeout_seconds: float,
        receipts_kept_seconds: float,
    ) -> None:
        self._organisation = organisation
        self._redis = redis
        self._list = names
        self._snapshot = snapshot
        self._timeout_seconds = timeout_seconds
        self._sums = Sums()
        self._place = BEGINNING
        self._receipts = 0
        self._trimmed_receipts = 0
        self._receipts_kept_seconds = receipts_kept_seconds
        self._counters: set[CounterName] = set()
        self._rates: set[RateName] = set()
        self._compared = 0
        self._days: set[str] = set()

    async def findings(self) -> AsyncGenerator[Finding]:
        """Progress as it reads; at the end every difference, and what was compared."""
        await self._read_checkpoint()
        while len((await self._look()).receipts) == _RECEIPTS_A_STEP:
            yield Progress(self._receipts)
        found = [
            *await self._differing_counters(),
            *await self._differing_rates(),
            *await self._differing_wants(),
            *await self._differing_days(),
        ]
        for each in found:
            yield each
        yield Verified(self._receipts, self._trimmed_receipts, self._compared, len(self._days), len(found))

    @property
    def _reach_back_seconds(self) -> float | None:
        """How far the ledger's receipts reach back for certain; None: all of them are there."""
        return self._receipts_kept_seconds if self._trimmed_receipts else None

    async def _read_checkpoint(self) -> None:
        """The sums of receipts that are gone, and which sums there are."""
        before = await self._checkpoint()
        for name in await self._names():
            await self._find(name)
        if await self._checkpoint() != before:
            raise OvertakenError
        self._place = place(before.get("last", "0-0"))
        self._trimmed_receipts = int(before.get("receipts", 0))

    async def _names(self) -> set[str]:
        """Of counters, days, rates and what is trimmed: by their first letters, Redis sends no reservations."""
        found: set[str] = set()
        cursor = "0"
        while True:
            cursor, names = await self._list(self._organisation, cursor=cursor, match="[drst][apr]*", most=_KEYS_A_STEP)
            found |= {str(name).removeprefix(self._key("")) for name in names}
            if cursor == "0":
                return found

    async def _find(self, name: str) -> None:
        kind, _, rest = name.partition(":")
        if kind == "spent":
            self._counters |= {counter_name(name, account) for account in await self._hash(name)}
        elif kind == "rate":
            self._rates.add(rate_name(name))
        elif kind == "days":
            self._days.add(rest)
        elif kind == "trimmed" and rest.startswith("spent:"):
            for account, spent in (await self._hash(name)).items():
                self._sums.spent[counter_name(rest, account)] += int(spent)
        elif kind == "trimmed" and rest:
            self._sums.add(rest, sums_of(await self._hash(name)))

    async def _checkpoint(self) -> dict[str, str]:
        return await self._hash("trimmed")

    async def _hash(self, name: str) -> dict[str, str]:
        return await hash_in_steps(self._redis, self._key(name), timeout_seconds=self._timeout_seconds)

    async def _differing_counters(self) -> list[Difference]:
        found: list[Difference] = []
        every = sorted(self._counters | self._sums.spent.keys(), key=str)
        for first in range(0, len(every), _COUNTERS_A_STEP):
            names = every[first : first + _COUNTERS_A_STEP]
            seen = await self._last_look(counters=names)
            spent, reserved = self._computed(seen.opened)
            for name, stands in zip(names, seen.counters, strict=True):
                if stands is None and not is_kept(self._sums.ends_at.get(name), seen.now_seconds):
                    continue
                if not minute_is_told(name, self._reach_back_seconds, seen.now_seconds):
                    continue
                self._compared += 1
                kept = stands or (0, 0)
                found += compared(f"{name} spent", kept[0], self._sums.spent[name] + spent[name])
                found += compared(f"{name} reserved", kept[1], reserved[name])
        return found

    async def _differing_rates(self) -> list[Difference]:
        found: list[Difference] = []
        every = sorted(self._rates | self._sums.rates.booked.keys(), key=str)
        for first in range(0, len(every), _RATES_A_STEP):
            names = every[first : first + _RATES_A_STEP]
            seen = await self._last_look(rates=names)
            booked, reserved = self._computed_rates(seen.opened)
            for name, rate in zip(names, seen.rates, strict=True):
                found += compared(f"{name} reserved", rate.reserved, reserved[name])
                self._compared += 1
                if name.window is Window.TOTAL:
                    kept = rate.spent
                else:
                    kept = in_window(name, rate.buckets, seen.now_seconds)
                    found += compared(f"{name} used, by its parts", rate.spent, sum(rate.buckets.values()))
                if is_told(name.window, self._reach_back_seconds):
                    used = self._sums.rates.used(name, seen.now_seconds) + booked.used(name, seen.now_seconds)
                    found += compared(f"{name} used", kept, used)
        return found

    async def _differing_wants(self) -> list[Difference]:
        """What open answers may want beyond their leases."""
        seen = await self._last_look(rates=[_ANY])
        wanted: dict[str, Counter[Kind]] = defaultdict(Counter)
        for each in seen.opened:
            for account in each.booked.principal.accounts():
                wanted[str(account)].update(each.wanted)
        return [
            difference
            for account in sorted(wanted.keys() | seen.wanted.keys())
            for kind in WANTED
            for difference in compared(
                f"{account.rstrip(':')} {kind} wanted", seen.wanted.get(account, {}).get(kind, 0), wanted[account][kind]
            )
        ]

    async def _differing_days(self) -> list[Difference]:
        found: list[Difference] = []
        for day in sorted(self._days | self._sums.days.keys()):
            seen = await self._last_look(day=day)
            if day_is_kept(day, seen.now_seconds):
                self._days.add(day)
                found += compared_day(day, seen.day, self._sums.days.get(day, {}))
        return found

    def _computed(self, opened: Iterable[Open]) -> tuple[Counter[CounterName], Counter[CounterName]]:
        """What open reservations have booked, and what they hold."""
        booked, reserved = Sums(), Counter[CounterName]()
        for each in opened:
            booked.book(each.booked)
            for name, _ in counters_at(each.booked.principal, each.reserved_second // 60):
                reserved[name] += each.reserved[Kind.MONEY]
            for rate in each.touched:
                if rate.kind is Kind.MONEY:
                    reserved[minute_counter(rate.account, each.reserved_second)[0]] += each.reserved[Kind.MONEY]
        return booked.spent, reserved

    def _computed_rates(self, opened: Iterable[Open]) -> tuple[RateSums, Counter[RateName]]:
        """The same of rates."""
        booked, reserved = Sums(), Counter[RateName]()
        for each in opened:
            booked.book(each.booked)
            for name in each.touched:
                reserved[name] += each.reserved.get(name.kind, 0)
        return booked.rates, reserved

    async def _last_look(
        self, counters: Sequence[CounterName] = (), rates: Sequence[RateName] = (), day: str = ""
    ) -> Snapshot:
        """These, at an instant up to which all receipts are in the sums."""
        while True:
            seen = await self._look(counters, rates, day)
            if len(seen.receipts) < _RECEIPTS_A_STEP:
                return seen

    async def _look(
        self, counters: Sequence[CounterName] = (), rates: Sequence[RateName] = (), day: str = ""
    ) -> Snapshot:
        reply = await self._snapshot(
            self._organisation,
            after="{}-{}".format(*self._place),
            most=_RECEIPTS_A_STEP,
            counters=[counter_place(each) for each in counters],
            rates=[rate_key(each) for each in rates],
            day=day,
        )
        seen = snapshot(reply, self._organisation)
        if seen.last_trimmed > self._place:
            raise OvertakenError
        for receipt in seen.receipts:
            self._sums.book(receipt)
        self._receipts += len(seen.receipts)
        self._place = seen.last or self._place
        return seen

    def _key(self, name: str) -> str:
        return key_of(self._organisation, name)
