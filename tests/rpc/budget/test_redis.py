"""The service over a real Redis: what it seeds, sweeps, and says when Redis is away."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from libs.errors import Reason, TokenwayError
from libs.keys import StoredKey, from_json, redis_key, to_json
from libs.telemetry import names
from libs.testing.ledger_books import RedisBooks
from libs.testing.valkey import RedisServer
from services.budget import server
from services.budget.domain.lease import LeasePolicy
from services.budget.domain.limits import Account, Limit, Scope
from services.budget.domain.seed import Seed
from services.budget.domain.windows import Window
from tests.rpc.budget.served import ADA, EXTEND, GET_USAGE, RESERVE, SETTLE, extend, reserve, serving, settle, until
from tokenway.budget.v1 import budget_pb2 as pb

LIMIT = Limit(Account(Scope.ORGANISATION), Window.MONTH, 5_000)
KEY = StoredKey(key_id="ada", organisation="acme")


async def test_a_request_goes_through_all_its_verbs(folder: Path, redis_servers: RedisServer) -> None:
    async with serving(folder, redis_url=redis_servers.url) as budget:
        await budget.call(RESERVE, reserve())
        await budget.call(EXTEND, extend(output_tokens=90))
        receipt = (await budget.call(SETTLE, settle(150))).receipt

    assert receipt.cost_micro_usd == 160


async def test_limits_and_keys_of_the_file_are_there_at_start_and_never_overwrite(folder: Path, redis_url: str) -> None:
    seed = Seed(limits=(("acme", LIMIT),), keys={"a" * 64: KEY})
    async with serving(folder, redis_url=redis_url, seed=seed) as budget:
        (before,) = (await budget.call(GET_USAGE, pb.GetUsageRequest(principal=ADA))).states
    revoked = replace(KEY, role="admin")
    with redis.Redis.from_url(redis_url) as client:
        assert from_json(client.get(redis_key("a" * 64))) == KEY
        client.set(redis_key("a" * 64), to_json(revoked))

    other = Seed(limits=(("acme", replace(LIMIT, most=1)),), keys={"a" * 64: KEY})
    with capture_logs() as lines:
        async with serving(folder, redis_url=redis_url, seed=other) as budget:
            (after,) = (await budget.call(GET_USAGE, pb.GetUsageRequest(principal=ADA))).states

    assert before.budget.limit == after.budget.limit == 5_000
    (warning,) = [line for line in lines if line["log_level"] == "warning"]
    assert (warning["budget"], warning["stands"], warning["configured"]) == ("organisation month money", 5_000, 1)
    with redis.Redis.from_url(redis_url) as client:
        assert from_json(client.get(redis_key("a" * 64))) == revoked


async def test_limits_of_the_file_overwrite_where_it_is_to_win_and_others_stay(folder: Path, redis_url: str) -> None:
    mine = replace(LIMIT, window=Window.DAY)
    async with serving(folder, redis_url=redis_url, seed=Seed(limits=(("acme", LIMIT), ("acme", mine)))):
        pass

    wins = Seed(limits=(("acme", replace(LIMIT, most=1)),), overwrites_limits=True)
    async with serving(folder, redis_url=redis_url, seed=wins) as budget:
        states = (await budget.call(GET_USAGE, pb.GetUsageRequest(principal=ADA))).states

    assert sorted(each.budget.limit for each in states) == [1, 5_000]


async def test_the_sweeper_books_the_lease_of_a_router_that_fell_silent(folder: Path, redis_url: str) -> None:
    books = RedisBooks(redis_url)
    policy = LeasePolicy(lifetime_seconds=0.05)
    async with serving(folder, redis_url=redis_url, lease=policy, sweep_seconds=0.02) as budget:
        await budget.call(RESERVE, reserve())
        await until(lambda: budget.recorded.sample(names.METRIC_BUDGET_PRESUMED_LEASES) == 1)

        assert budget.recorded.sample(names.METRIC_BUDGET_PRESUMED_COST) == pytest.approx(110e-6)
        await until(lambda: budget.recorded.sample(names.METRIC_BUDGET_SWEEPS, result="done"))
    (receipt,) = books.receipts("acme")
    assert receipt.outcome == "PRESUMED"
    books.close()


def make_old(client: Any) -> None:
    """The only receipt becomes one of 40 days ago."""
    ((entry, fields),) = client.xrange("tw:{acme}:receipts")
    client.xadd("tw:{acme}:receipts", fields | {"booked_at_ms": int(fields["booked_at_ms"]) - 40 * 86_400_000})
    client.xdel("tw:{acme}:receipts", entry)


async def test_old_receipts_go_to_the_folder_that_the_configuration_names(
    folder: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_TRIM_SECONDS", 0.05)
    exported = folder / "exported"
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        async with serving(folder, redis_url=redis_url, receipts_export_dir=exported) as budget:
            await budget.call(RESERVE, reserve())
            await budget.call(SETTLE, settle(50))
            make_old(client)
            await until(lambda: not client.exists("tw:{acme}:receipts") or not client.xlen("tw:{acme}:receipts"))
            await until(lambda: budget.recorded.sample(names.METRIC_BUDGET_TRIMS, result="done"))

    (file,) = exported.iterdir()
    (line,) = file.read_text().splitlines()
    assert (json.loads(line)["organisation"], json.loads(line)["cost_micro_usd"]) == ("acme", 60)


async def test_it_does_not_start_without_its_redis(folder: Path, own_valkey: RedisServer) -> None:
    own_valkey.kill()

    with pytest.raises(TokenwayError, match=r"Redis at unix://.* cannot be used") as caught:
        async with serving(folder, redis_url=own_valkey.url):
            pass

    assert caught.value.reason is Reason.BUDGET_UNAVAILABLE


async def test_receipts_that_cannot_be_exported_stay_and_are_counted(
    folder: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_TRIM_SECONDS", 0.05)
    exported = folder / "exported"
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        async with serving(folder, redis_url=redis_url, receipts_export_dir=exported) as budget:
            await budget.call(RESERVE, reserve())
            await budget.call(SETTLE, settle(50))
            exported.mkdir(exist_ok=True)
            exported.rmdir()
            exported.touch()  # no folder any more
            make_old(client)

            await until(lambda: budget.recorded.sample(names.METRIC_BUDGET_TRIMS, result="failed"))

            assert client.xlen("tw:{acme}:receipts") == 1


async def test_a_socket_in_use_is_a_clear_error_of_its_own(folder: Path, redis_url: str) -> None:
    async with serving(folder, redis_url=redis_url):
        with pytest.raises(TokenwayError, match="cannot listen on"):
            async with serving(folder, redis_url=redis_url):
                pass


async def test_while_redis_is_away_nothing_is_spent_and_after_it_all_goes_on(
    folder: Path, own_valkey: RedisServer
) -> None:
    async with serving(folder, redis_url=own_valkey.url, sweep_seconds=0.02) as budget:
        await budget.call(RESERVE, reserve())
        own_valkey.kill()

        error = await budget.refused(RESERVE, reserve("r2"), Reason.BUDGET_UNAVAILABLE)
        await until(lambda: budget.recorded.sample(names.METRIC_BUDGET_SWEEPS, result="failed"))
        own_valkey.start()

        assert error.retry_after_seconds == 1
        assert (await budget.call(EXTEND, extend(output_tokens=90))).lease.output_tokens == 190


async def test_a_frozen_redis_that_is_killed_and_started_again_answers_the_next_call(
    folder: Path, own_valkey: RedisServer
) -> None:
    async with serving(folder, redis_url=own_valkey.url, redis_timeout_seconds=0.8) as budget:
        await budget.call(RESERVE, reserve())
        own_valkey.freeze()
        await budget.refused(EXTEND, extend(), Reason.BUDGET_UNAVAILABLE)
        own_valkey.kill()
        own_valkey.start()

        assert (await budget.call(EXTEND, extend())).lease.output_tokens == 150


async def test_a_frozen_redis_is_a_refusal_in_time(folder: Path, own_valkey: RedisServer) -> None:
    async with serving(folder, redis_url=own_valkey.url, redis_timeout_seconds=0.8) as budget:
        await budget.call(RESERVE, reserve())
        own_valkey.freeze()
        began = time.monotonic()

        await budget.refused(EXTEND, extend(), Reason.BUDGET_UNAVAILABLE)

        assert time.monotonic() - began < 10  # 0.8, and a machine that stands still
        own_valkey.thaw()
        assert (await budget.call(EXTEND, extend(seq=2))).lease.output_tokens == 150
