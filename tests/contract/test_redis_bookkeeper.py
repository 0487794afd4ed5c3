"""What a verification finds in Redis, and what it does not find while requests go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

from libs.errors import TokenwayError
from libs.testing.valkey import RedisServer
from services.budget.adapters import redis_bookkeeper, redis_ledger, redis_verification
from services.budget.domain.limits import WINDOWS, Account, Kind, Limit, Scope, why_uncounted
from services.budget.domain.verification import Difference
from services.budget.domain.windows import Window
from tests.contract.ledgers import POLICY, Tried, in_redis
from tests.contract.test_bookkeeper import ended, verified
from tests.contract.test_ledger import ADA, BOB, KEY, asked, extended, settled, used

PAGE = "tw:{acme}:spent:day:20240228"
RECEIPTS = "tw:{acme}:receipts"
DAY = "tw:{acme}:days:20240228"
OF_ADA = "ada\nada.l\ncompilers\nllama-3-7b"


@pytest.fixture
async def tried(redis_servers: RedisServer) -> AsyncIterator[Tried]:
    async with in_redis(redis_servers.url, POLICY) as found:
        yield found


@pytest.fixture
def raw(redis_servers: RedisServer) -> Iterator[Any]:
    """The server beneath the ledger."""
    with redis.Redis.from_url(redis_servers.url, decode_responses=True, protocol=2) as client:
        yield client


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few receipts and counters are many."""
    monkeypatch.setattr(redis_verification, "_RECEIPTS_A_STEP", 20)
    monkeypatch.setattr(redis_verification, "_COUNTERS_A_STEP", 2)
    monkeypatch.setattr(redis_bookkeeper, "_TRIMMED_A_STEP", 3)


async def names(tried: Tried) -> list[str]:
    return [each.name for each in (await verified(tried))[0]]


async def test_a_counter_that_somebody_changed_is_found_and_named(tried: Tried, raw: Any) -> None:
    await ended(tried)
    await tried.ledger.reserve(asked())
    raw.hset(PAGE, "key:ada", "22 100")

    found, _ = await verified(tried)

    assert found == [
        Difference("key:ada day 20240228 spent", 22, 15),
        Difference("key:ada day 20240228 reserved", 100, 110),
    ]


async def test_a_counter_without_a_reason_and_one_that_is_gone_are_found(tried: Tried, raw: Any) -> None:
    await ended(tried)
    raw.hdel(PAGE, "key:ada")
    raw.hset("tw:{acme}:spent:month:202402", "key:nobody", "3 0")

    assert await names(tried) == ["key:ada day 20240228 spent", "key:nobody month 202402 spent"]


async def test_a_receipt_that_was_deleted_is_found_in_all_that_it_counted_for(tried: Tried, raw: Any) -> None:
    await ended(tried)
    await ended(tried, BOB)
    raw.xdel(RECEIPTS, raw.xrange(RECEIPTS)[0][0])

    found = await names(tried)

    assert {"key:ada hour 20240228T10 spent", "organisation month 202402 spent"} <= set(found)
    assert not [each for each in found if "bob" in each]
    assert "day 20240228 key:ada user:ada.l team:compilers model:llama-3-7b output_tokens" in found


async def test_a_day_that_somebody_changed_is_found_and_named(tried: Tried, raw: Any) -> None:
    await ended(tried)
    raw.hset(DAY, OF_ADA, raw.hget(DAY, OF_ADA).replace("15", "16"))

    found, _ = await verified(tried)

    name = "day 20240228 key:ada user:ada.l team:compilers model:llama-3-7b cost_micro_usd"
    assert found == [Difference(name, 16, 15)]


async def test_a_reservation_that_was_deleted_is_found(tried: Tried, raw: Any) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    raw.delete(f"tw:{{acme}}:reserved:{reservation.id}")

    assert "key:ada day 20240228 reserved" in await names(tried)


async def limited(tried: Tried) -> None:
    """Limits that nobody reaches, of every kind by every window, for a key, its team and the organisation."""
    for account in (KEY, Account(Scope.TEAM, "compilers"), Account(Scope.ORGANISATION)):
        for kind in Kind:
            for window in Window:
                if not why_uncounted(kind, window):
                    await tried.ledger.put_limit("acme", Limit(account, window, 10**9, kind))


@pytest.mark.parametrize(
    ("name", "field", "expected"),
    [
        ("rate:key:ada:minute:requests", "spent", "key:ada requests minute used, by its parts"),
        ("rate:key:ada:total:requests", "spent", "key:ada requests total used"),
        ("rate:team:compilers:day:output_tokens", "reserved", "team:compilers output_tokens day reserved"),
        ("rate:organisation::total:concurrency", "reserved", "organisation concurrency total reserved"),
        ("rate:key:nobody:hour:input_tokens", "spent", "key:nobody input_tokens hour used, by its parts"),
    ],
)
async def test_what_is_counted_for_a_limit_alone_is_held_against_the_ledger_too(
    tried: Tried, raw: Any, name: str, field: str, expected: str
) -> None:
    await limited(tried)
    await ended(tried)
    await tried.ledger.reserve(asked())
    assert await names(tried) == []
    raw.hincrby(f"tw:{{acme}}:{name}", field, 7)

    assert await names(tried) == [expected]


@pytest.mark.parametrize(("stands", "name"), [("22 110", "spent"), ("15 117", "reserved")])
async def test_money_by_the_minute_is_held_against_the_ledger_too(
    tried: Tried, raw: Any, stands: str, name: str
) -> None:
    await limited(tried)
    await ended(tried)
    await tried.ledger.reserve(asked())
    assert await names(tried) == []
    assert raw.hget("tw:{acme}:spent:minute:20240228T1015", "key:ada") == "15 110"
    raw.hset("tw:{acme}:spent:minute:20240228T1015", "key:ada", stands)

    assert await names(tried) == [f"key:ada minute 20240228T1015 {name}"]


async def test_a_bucket_that_somebody_changed_is_found(tried: Tried, raw: Any) -> None:
    await limited(tried)
    await ended(tried)
    counter = "tw:{acme}:rate:key:ada:hour:output_tokens"
    bucket = next(each for each in raw.hkeys(counter) if each.isdecimal())
    raw.hincrby(counter, bucket, 7)
    raw.hincrby(counter, "spent", 7)

    assert await names(tried) == ["key:ada output_tokens hour used"]


async def test_what_open_answers_may_want_is_held_against_them(tried: Tried, raw: Any) -> None:
    await tried.ledger.reserve(asked())
    assert await names(tried) == []
    raw.hset("tw:{acme}:wanted", "key:ada", "901 900")
    raw.hset("tw:{acme}:wanted", "key:nobody", "0 5")

    found, _ = await verified(tried)

    assert found == [
        Difference("key:ada money wanted", 901, 900),
        Difference("key:nobody output_tokens wanted", 5, 0),
    ]


async def test_limits_that_come_and_go_leave_no_difference(tried: Tried) -> None:
    for _ in range(3):
        opened = asked()
        await tried.ledger.reserve(opened)
        await limited(tried)
        await tried.ledger.extend(extended(opened, 1, used(20)))
        for each in await tried.ledger.limits("acme"):
            await tried.ledger.remove_limit("acme", each.name)
        tried.clock.advance(30)
        await tried.ledger.extend(extended(opened, 2, used(40)))
        await tried.ledger.settle(settled(opened, used(50)))
        tried.clock.advance(45)

        assert await names(tried) == []


async def test_what_the_checkpoint_does_not_have_is_not_told(tried: Tried, raw: Any) -> None:
    await limited(tried)
    await ended(tried)
    tried.clock.advance(36 * 86_400)
    await tried.bookkeeper.trim()
    await ended(tried)
    # All that was ever used counts in a total, and the first receipt is gone; of a month there is all.
    raw.hincrby("tw:{acme}:rate:key:ada:total:requests", "spent", 7)
    assert await names(tried) == []
    raw.hincrby("tw:{acme}:rate:key:ada:month:requests", "spent", 7)

    assert await names(tried) == ["key:ada requests month used, by its parts"]


async def test_a_checkpoint_that_somebody_changed_is_found(tried: Tried, raw: Any) -> None:
    await ended(tried)
    tried.clock.advance(36 * 86_400)
    await tried.bookkeeper.trim()
    assert await names(tried) == []
    raw.hset("tw:{acme}:trimmed:20240228", OF_ADA, "1 10 0 5 14 0 0")

    assert [each for each in await names(tried) if each.endswith("cost_micro_usd")] == [
        "day 20240228 key:ada user:ada.l team:compilers model:llama-3-7b cost_micro_usd"
    ]


@pytest.mark.usefixtures("small_steps")
async def test_counters_that_outlive_their_receipts_add_up_with_the_checkpoint(tried: Tried, raw: Any) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    tried.clock.advance(61)
    await tried.ledger.sweep()
    for _ in range(10):
        await ended(tried)
    tried.clock.advance(86_000)
    await tried.ledger.settle(settled(reservation, used(5)))  # a correction, in the counters of the day before
    for name in raw.keys("tw:{acme}:spent:*"):
        raw.persist(name)  # as if they were totals
    tried.clock.advance(34.5 * 86_400)

    assert await tried.bookkeeper.trim() == 11
    assert await names(tried) == []
    tried.clock.advance(86_400)
    assert await tried.bookkeeper.trim() == 1
    assert raw.xlen(RECEIPTS) == 0
    assert await names(tried) == []


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("seed", range(3))
async def test_it_finds_nothing_while_requests_go_on_and_receipts_are_trimmed(tried: Tried, seed: int) -> None:
    await tried.ledger.put_limit("acme", Limit(KEY, WINDOWS[0], 3_000))
    chance = random.Random(seed)

    async def request() -> None:
        reservation = asked(principal=chance.choice((ADA, BOB)), want=50, most=200)
        with suppress(TokenwayError):  # refused, or expired meanwhile
            await tried.ledger.reserve(reservation)
            for seq in range(1, chance.randrange(4)):
                await tried.ledger.extend(extended(reservation, seq, used(20 * seq), want=20))
            if chance.random() < 0.7:  # the others fall silent
                await tried.ledger.settle(settled(reservation, used(chance.randrange(100))))
        tried.clock.advance(chance.choice((0.5, 3, 40, 400)))

    async def caller() -> None:
        for _ in range(40):
            await request()
            if chance.random() < 0.05:
                tried.clock.advance(chance.choice((3_600, 20 * 86_400)))
                await tried.bookkeeper.trim()

    callers = asyncio.gather(*(caller() for _ in range(6)))
    found = []
    while not callers.done():
        found.append(await verified(tried))
    await callers
    found.append(await verified(tried))

    assert [differences for differences, _ in found if differences] == []
    assert len(found) > 2
    assert found[-1][1].receipts + found[-1][1].trimmed_receipts > 100


# A line of a script, and the same with a mistake.
MUTANTS = [
    ("counters", "page.used[i] + page.spent,", "page.used[i] + page.spent + 1,"),
    ("counters", "page.held[i] + page.reserved)", "page.held[i])"),
    ("counters", "page.spent = page.spent + spent", "page.spent = spent"),
    ("days", "measures[COST] = measures[COST] + money", "measures[COST] = money"),
    ("days", "measures[i] = measures[i] + before", "measures[i] = before"),
    ("reservations", "  write_receipt(record, record.bookings)\n", "\n"),
    ("reservations", "'bookings', bookings", "'bookings', ''"),
    ("reservations", "add_to_days('days', record", "add_to_days('lost', record"),
    ("reservations", "  write(draft, now)\n  record.booked = ", "  record.booked = "),
    ("settling", "  write(draft, now)\n", "\n"),
    ("giving_back", "    write(draft, now)\n", "\n"),
    ("trim", "  add_to_checkpoint(receipt, now)\n", "\n"),
    ("trim", "  add_to_counters(receipt)\n", "\n"),
    ("sliding", "bucket, page.spent)", "bucket, page.spent + 1)"),
    ("sliding", "math.floor(page.booked_ms / page.bucket_ms)", "page.oldest"),
    ("sliding", "= page.held[1] + page.reserved", "= page.held[1]"),
    ("wanted", "wanted.money + more.money", "more.money"),
    ("wanted", "wanted.output_tokens + more.output_tokens", "more.output_tokens"),
    ("reservations", "  want(record.accounts, negative(record.wanted))\n", "\n"),
    ("reservations", "  want(record.accounts, record.wanted)\n", "  want(record.accounts, NOTHING)\n"),
    ("notes", "math.floor(booked_ms / 1000)", "math.floor(record.part_ms / 1000)"),
]


@pytest.mark.parametrize(("file", "line", "mistake"), MUTANTS)
async def test_a_mistake_in_a_script_is_found(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, file: str, line: str, mistake: str
) -> None:
    sound = redis_ledger.lua
    assert line in sound(file), "the mutant is of a line that there is no longer"

    def mutated(name: str) -> str:
        return sound(name).replace(line, mistake) if name == file else sound(name)

    async with in_redis(redis_url, POLICY) as tried:
        await life(tried, redis_url)
        assert await names(tried) == []
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    monkeypatch.setattr(redis_ledger, "lua", mutated)
    monkeypatch.setattr("services.budget.adapters.redis_scripts.lua", mutated)
    async with in_redis(redis_url, POLICY) as tried:
        await life(tried, redis_url)
        found = await names(tried)

    assert found


async def life(tried: Tried, redis_url: str) -> None:
    """Of everything a little, trimmed while its counters live; and once more, not trimmed."""
    await limited(tried)
    await requests(tried)
    with redis.Redis.from_url(redis_url) as client:
        for name in client.keys("tw:{acme}:spent:*"):
            client.persist(name)  # as if they were totals
    tried.clock.advance(36 * 86_400)
    await tried.bookkeeper.trim()
    await requests(tried)


async def requests(tried: Tried) -> None:
    """Some that are settled, one in two parts; one released, one presumed and corrected, one open."""
    for _ in range(2):
        await ended(tried)
    parted, released, silent = asked(), asked(), asked()
    await tried.ledger.reserve(parted)
    tried.clock.advance(59)
    await tried.ledger.extend(extended(parted, 1, used(20)))
    tried.clock.advance(59)
    await tried.ledger.extend(extended(parted, 2, used(40)))
    await tried.ledger.settle(settled(parted, used(60)))
    await tried.ledger.reserve(released)
    await tried.ledger.extend(extended(released, 1, used(20)))
    await tried.ledger.release("acme", released.id)
    await tried.ledger.reserve(silent)
    tried.clock.advance(61)
    await tried.ledger.sweep()
    await tried.ledger.settle(settled(silent, used(5)))
    await tried.ledger.reserve(asked())
