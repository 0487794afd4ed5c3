"""What the ledger owes to being in Redis: restarts, outages, other processes, the lifetime of keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from libs.clock import SystemClock
from libs.errors import Reason, TokenwayError
from libs.redis_client import redis_client, require
from libs.testing.ledger_books import RedisBooks
from libs.testing.valkey import RedisServer
from services.budget.adapters.redis_calls import RedisCalls
from services.budget.adapters.redis_ledger import RedisLedger
from services.budget.adapters.redis_organisations import RedisOrganisations
from services.budget.domain.lease import LeasePolicy
from services.budget.domain.limits import Kind, Limit
from services.budget.domain.ports import Swept
from services.budget.domain.receipt import ReceiptQuery
from services.budget.domain.windows import Window
from tests.contract.ledgers import POLICY, LedgerClock, Tried, in_redis
from tests.contract.test_ledger import ADA, KEY, asked, extended, limit, refused, settled, stands, used
from tests.contract.test_ledger_arrears import is_equal

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@pytest.fixture
async def tried(redis_servers: RedisServer) -> AsyncIterator[Tried]:
    async with in_redis(redis_servers.url, POLICY) as found:
        yield found


@pytest.fixture
def raw(redis_servers: RedisServer) -> Iterator[Any]:
    """The server beneath the ledger."""
    with redis.Redis.from_url(redis_servers.url, decode_responses=True, protocol=2) as client:
        yield client


async def test_scripts_that_redis_forgot_are_loaded_again(tried: Tried, raw: Any) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    raw.script_flush()

    assert (await tried.ledger.settle(settled(reservation, used(5)))).cost_micro_usd == 15


async def test_several_replicas_of_the_budget_cannot_together_pass_a_limit(redis_servers: RedisServer) -> None:
    async with in_redis(redis_servers.url, POLICY) as one, in_redis(redis_servers.url, POLICY) as two:
        await limit(one.ledger, 10 * 1_010)

        answers = await asyncio.gather(
            *(each.ledger.reserve(asked(want=1_000)) for each in (one, two) for _ in range(100)),
            return_exceptions=True,
        )

        assert sum(not isinstance(each, BaseException) for each in answers) == 10
        assert stands(one) == (0, 10 * 1_010)


async def test_another_process_sweeps_the_leases_of_one_that_died(redis_servers: RedisServer) -> None:
    async with in_redis(redis_servers.url, POLICY) as died:
        await died.ledger.reserve(asked())

    async with in_redis(redis_servers.url, POLICY) as lives:
        lives.clock.advance(60)

        assert await lives.ledger.sweep() == Swept(1, 110)


async def test_whoever_finds_leases_expired_hears_of_it(redis_servers: RedisServer) -> None:
    heard: list[Swept] = []
    async with _ledger(redis_servers.url, on_swept=heard.append) as (ledger, clock):
        await ledger.reserve(asked())
        await ledger.reserve(asked())
        clock.advance(60)

        await ledger.usage(ADA)

    assert heard == [Swept(2, 220)]


async def test_a_reservation_that_somebody_deleted_is_not_looked_for_ever_after(tried: Tried, raw: Any) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    raw.delete(f"tw:{{acme}}:reserved:{reservation.id}")
    tried.clock.advance(60)

    assert await tried.ledger.sweep() == Swept(0, 0)
    assert raw.zcard("tw:{acme}:leases") == 0


async def test_what_one_minute_booked_is_one_entry_of_the_receipt(tried: Tried, raw: Any) -> None:
    reservation = asked()  # at 10:15
    await tried.ledger.reserve(reservation)
    for seq in range(1, 10):
        tried.clock.advance(10)
        await tried.ledger.extend(extended(reservation, seq, used(10 * seq)))
    await tried.ledger.settle(settled(reservation, used(100)))

    ((_, receipt),) = raw.xrange("tw:{acme}:receipts")

    minute = tried.clock.now_ms // 60_000
    # Booked where it was reserved: 10 in and 60 out by what was leased from 10:15:00 to 10:15:50, the rest in the next.
    assert receipt["bookings"] == f"{minute - 1}=70 {minute}=40"


async def test_all_keys_of_an_organisation_share_a_slot_of_a_cluster(tried: Tried, raw: Any) -> None:
    await limit(tried.ledger, 5_000)
    await limit(tried.ledger, 5, kind=Kind.REQUESTS)
    first, second = asked(), asked()
    await tried.ledger.reserve(first)
    await tried.ledger.reserve(second)
    await tried.ledger.settle(settled(first, used(5)))
    tried.clock.advance(60)
    await tried.ledger.sweep()

    keys = set(raw.scan_iter())

    assert keys - {"tw:organisations"} == {each for each in keys if each.startswith("tw:{acme}:")}
    kinds = {each.split(":")[2] for each in keys if each.startswith("tw:{acme}:")}
    assert kinds == {"budgets", "clock", "days", "rate", "receipts", "requests", "reserved", "spent"}


async def test_counters_outlive_their_windows_by_three_days_and_then_vanish(tried: Tried, raw: Any) -> None:
    await tried.ledger.reserve(asked())  # at 10:15 on 28 February of a leap year

    left_ms = {window: raw.pttl(f"tw:{{acme}}:spent:{window}") for window in _windows_of_now()}

    for window, until_the_end_ms in _windows_of_now().items():
        assert left_ms[window] == pytest.approx(until_the_end_ms + 3 * DAY_MS, abs=10_000)


async def test_a_reservation_stays_until_it_is_closed_and_an_hour_longer_than_it_is_remembered(
    tried: Tried, raw: Any
) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    key = f"tw:{{acme}}:reserved:{reservation.id}"
    assert raw.pttl(key) == -1

    await tried.ledger.settle(settled(reservation, used(5)))

    assert raw.pttl(key) == pytest.approx(25 * HOUR_MS, abs=10_000)


async def test_an_organisation_is_announced_once_in_a_while_and_forgotten_long_after(redis_url: str) -> None:
    clock, client = _Clock(), redis_client(redis_url, decode_responses=True)
    organisations = RedisOrganisations(redis=client, clock=clock)

    await organisations.announce("acme")
    await organisations.forget("acme")
    clock.seconds += 599
    await organisations.announce("acme")
    announced = await organisations.announced(), await client.zscore("tw:organisations", "acme")
    clock.seconds += 3_002
    await organisations.forget("acme")

    assert announced == (["acme"], 0)
    assert await organisations.announced() == []
    await organisations.announce("acme")
    assert await organisations.announced() == ["acme"]
    await client.aclose()


async def test_a_redis_that_is_killed_and_restarted_has_lost_nothing(own_valkey: RedisServer) -> None:
    async with in_redis(own_valkey.url, POLICY) as tried:
        await limit(tried.ledger, 50_000)
        opened, closed = asked(), asked()
        await tried.ledger.reserve(opened)
        await tried.ledger.extend(extended(opened, 1, used(60)))
        await tried.ledger.reserve(closed)
        receipt = await tried.ledger.settle(settled(closed, used(5)))

        own_valkey.kill()
        own_valkey.start()

        assert await tried.ledger.settle(settled(closed, used(5))) == receipt
        assert stands(tried) == (85, 100)
        assert (await tried.ledger.settle(settled(opened, used(80)))).cost_micro_usd == 90
        assert len(tried.books.receipts("acme")) == 2


async def test_a_redis_that_is_away_is_a_refusal(own_valkey: RedisServer) -> None:
    async with in_redis(own_valkey.url, POLICY) as tried:
        await tried.ledger.reserve(asked())
        own_valkey.kill()

        error = await refused(tried.ledger.reserve(asked()), Reason.BUDGET_UNAVAILABLE)

        assert error.retry_after_seconds == 1
        assert own_valkey.url not in error.message


async def test_a_frozen_redis_is_a_refusal_in_time(own_valkey: RedisServer) -> None:
    async with in_redis(own_valkey.url, POLICY, timeout_seconds=0.8) as tried:
        first = asked()
        await tried.ledger.reserve(first)
        own_valkey.freeze()
        began = time.monotonic()

        answers = await asyncio.gather(*(tried.ledger.reserve(asked()) for _ in range(50)), return_exceptions=True)

        assert time.monotonic() - began < 10  # 0.8, and a machine that stands still
        assert {each.reason for each in answers if isinstance(each, TokenwayError)} == {Reason.BUDGET_UNAVAILABLE}
        assert len(answers) == 50
        own_valkey.thaw()
        # What was sent before the freeze may have happened; nobody gets another's answer for it.
        assert (await tried.ledger.settle(settled(first, used(5)))).reservation_id == first.id


async def test_a_caller_that_leaves_takes_its_answer_with_it(tried: Tried) -> None:
    reservations = [asked(want=number + 1) for number in range(40)]
    calls = [asyncio.create_task(tried.ledger.reserve(each)) for each in reservations]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()

    answers = await asyncio.gather(*calls, return_exceptions=True)

    for reservation, answer in zip(reservations[1::2], answers[1::2], strict=True):
        assert not isinstance(answer, BaseException)
        assert answer.output_tokens == reservation.want_output_tokens
    for reservation in reservations[1::2]:
        assert (await tried.ledger.reserve(reservation)).output_tokens == reservation.want_output_tokens


async def test_a_redis_without_memory_is_a_refusal_and_nothing_is_half_done(own_valkey: RedisServer) -> None:
    async with in_redis(own_valkey.url, POLICY) as tried:
        reservation = asked()
        await tried.ledger.reserve(reservation)
        with redis.Redis.from_url(own_valkey.url) as client:
            client.config_set("maxmemory", 1)

        await refused(tried.ledger.reserve(asked()), Reason.BUDGET_UNAVAILABLE)
        await refused(tried.ledger.extend(extended(reservation, 1, used(5))), Reason.BUDGET_UNAVAILABLE)

        assert stands(tried) == (0, 110)


async def test_a_mistake_of_ours_is_not_passed_off_as_an_outage(tried: Tried, raw: Any) -> None:
    raw.set("tw:{acme}:leases", "not a sorted set")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        await tried.ledger.reserve(asked())


async def test_time_is_that_of_redis_unless_a_test_says_otherwise(redis_url: str) -> None:
    books = RedisBooks(redis_url)
    async with _ledger(redis_url, with_clock=False) as (ledger, _):
        await ledger.add_limit("acme", Limit(KEY, Window.HOUR, 500))
        await ledger.reserve(asked(most=100))
        (state,) = await ledger.usage(ADA)

    assert 0 < (state.resets_at_seconds or 0) - time.time() <= 3_600
    assert books.used_and_reserved("acme", KEY, Window.HOUR, int(time.time() * 1000)) == (0, 110)
    books.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:hunter2@127.0.0.1:1/0", "redis://…@127.0.0.1:1/0"),
        ("unix:///nowhere/redis.sock", "/nowhere/redis.sock"),
    ],
)
async def test_a_start_without_redis_says_where_why_and_what_to_do(url: str, shown: str) -> None:
    client = redis_client(url, decode_responses=True)

    with pytest.raises(TokenwayError) as caught:
        await require(client, url=url, timeout_seconds=1, reason=Reason.BUDGET_UNAVAILABLE)

    assert shown in caught.value.message
    assert "hunter2" not in caught.value.message
    assert "REDIS_URL" in caught.value.message
    await client.aclose()


async def test_a_start_with_a_frozen_redis_fails_in_time(own_valkey: RedisServer) -> None:
    own_valkey.freeze()
    client = redis_client(own_valkey.url, decode_responses=True)

    with pytest.raises(TokenwayError, match=r"no answer within 0\.2 s"):
        await require(client, url=own_valkey.url, timeout_seconds=0.2, reason=Reason.BUDGET_UNAVAILABLE)

    await client.aclose()


class _Clock:
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> float:
        return self.seconds


@asynccontextmanager
async def _ledger(
    url: str, *, on_swept: Any = lambda _: None, with_clock: bool = True
) -> AsyncIterator[tuple[RedisLedger, LedgerClock]]:
    client, clock = redis_client(url, decode_responses=True), LedgerClock()
    ledger = RedisLedger(
        redis=client,
        calls=RedisCalls(client, timeout_seconds=30),
        organisations=RedisOrganisations(redis=client, clock=SystemClock()),
        policy=LeasePolicy(),
        timeout_seconds=30,
        on_swept=on_swept,
        now_ms=clock if with_clock else None,
    )
    yield ledger, clock
    await client.aclose()


def _windows_of_now() -> dict[str, int]:
    """The windows of a ledger clock's first moment, by how long they last from then."""
    return {
        "hour:20240228T10": 45 * 60_000,
        "day:20240228": 13 * HOUR_MS + 45 * 60_000,
        "month:202402": 37 * HOUR_MS + 45 * 60_000,
    }


async def test_who_looks_for_a_request_reads_its_receipts_alone(tried: Tried, raw: Any) -> None:
    reservations = [asked() for _ in range(50)]
    for each in reservations:
        await tried.ledger.reserve(each)
        await tried.ledger.settle(settled(each, used(5)))
    raw.config_resetstat()

    page = await tried.ledger.list_receipts(ReceiptQuery("acme", request_id=reservations[7].request_id))

    assert [each.reservation_id for each in page.receipts] == [reservations[7].id]
    done = raw.info("commandstats")
    assert (done["cmdstat_hget"]["calls"], done["cmdstat_xrange"]["calls"]) == (1, 1)
    assert "cmdstat_xrevrange" not in done
    assert raw.hlen("tw:{acme}:requests") == 50


async def test_the_index_of_requests_is_trimmed_with_their_receipts(tried: Tried, raw: Any) -> None:
    corrected, other = asked(), asked()
    await tried.ledger.reserve(corrected)
    await tried.ledger.reserve(other)
    await tried.ledger.settle(settled(other, used(5)))
    tried.clock.advance(61)
    await tried.ledger.sweep()
    tried.clock.advance(3_600)
    await tried.ledger.settle(settled(corrected, used(5)))
    tried.clock.advance(35 * 86_400 - 3_600)

    assert await tried.bookkeeper.trim() == 2

    (entry, _), *none = raw.xrange("tw:{acme}:receipts")
    assert (none, raw.hgetall("tw:{acme}:requests")) == ([], {corrected.request_id: entry})
    tried.clock.advance(3_600)
    assert await tried.bookkeeper.trim() == 1
    assert raw.exists("tw:{acme}:requests") == 0


async def test_what_is_trimmed_is_summed_up_for_counters_that_there_still_are(tried: Tried, raw: Any) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    await tried.ledger.settle(settled(reservation, used(5)))
    tried.clock.advance(35 * 86_400)
    raw.delete(*raw.keys("tw:{acme}:spent:hour:*"))  # long before, by Redis

    assert await tried.bookkeeper.trim() == 1

    assert raw.keys("tw:{acme}:trimmed:spent:hour:*") == []
    assert raw.hgetall("tw:{acme}:trimmed:spent:total:total")["organisation:"] == "15"
    assert await is_equal(tried)
