"""The calendar and the arithmetic, in Python and in Lua, against Python's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from libs.money import Price, Usage, cost_micro_usd
from services.budget.adapters.redis_ledger import lua
from services.budget.domain.money import MAX_PRICE_MICRO_USD, MAX_TOKENS, worst_cost_micro_usd
from services.budget.domain.windows import Window, period

# From 1970 to the end of 2199: over 2000, a leap year, and 2100, which is none.
SECONDS = st.integers(0, int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) - 1)
EDGES = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2000, 2, 29, 23, 59, 59, tzinfo=UTC),
    datetime(2023, 2, 28, 23, 59, 59, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2025, 1, 1, tzinfo=UTC),
    datetime(2100, 2, 28, 23, 59, 59, tzinfo=UTC),
    datetime(2100, 3, 1, tzinfo=UTC),
    datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC),
]
TOKENS = st.integers(0, MAX_TOKENS)
MICRO_USD = st.integers(0, MAX_PRICE_MICRO_USD)
FORMATS = {Window.MINUTE: "%Y%m%dT%H%M", Window.HOUR: "%Y%m%dT%H", Window.DAY: "%Y%m%d", Window.MONTH: "%Y%m"}
against_redis = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def lua_redis(redis_servers: Any) -> Iterator[Any]:
    with redis.Redis.from_url(redis_servers.url, decode_responses=True, protocol=2) as client:
        yield client


@given(seconds=SECONDS, window=st.sampled_from(sorted(FORMATS)))
def test_a_moment_lies_in_its_window_and_no_other_moment_of_the_window_has_another_id(
    seconds: int, window: Window
) -> None:
    found = period(window, seconds)

    assert found.end_seconds is not None
    assert found.start_seconds <= seconds < found.end_seconds
    assert period(window, found.start_seconds) == found
    assert period(window, found.end_seconds - 1) == found
    assert period(window, found.end_seconds).start_seconds == found.end_seconds
    assert found.id == datetime.fromtimestamp(seconds, UTC).strftime(FORMATS[window])


@given(seconds=SECONDS)
def test_a_month_ends_where_the_next_one_begins(seconds: int) -> None:
    last = datetime.fromtimestamp(period(Window.MONTH, seconds).end_seconds or 0, UTC) - timedelta(seconds=1)

    assert last.month == datetime.fromtimestamp(seconds, UTC).month
    assert (last + timedelta(seconds=1)).day == 1


@pytest.mark.parametrize(
    ("month", "days"), [("2024-02", 29), ("2023-02", 28), ("2100-02", 28), ("2024-04", 30), ("2024-12", 31)]
)
def test_months_have_their_lengths(month: str, days: int) -> None:
    found = period(Window.MONTH, int(datetime.fromisoformat(f"{month}-15T00:00:00+00:00").timestamp()))

    assert ((found.end_seconds or 0) - found.start_seconds) / 86_400 == days


def test_a_total_never_ends() -> None:
    assert period(Window.TOTAL, 0) == period(Window.TOTAL, 2_000_000_000)
    assert period(Window.TOTAL, 0).end_seconds is None


@against_redis
@given(seconds=SECONDS, window=st.sampled_from(sorted(Window)))
def test_lua_has_the_same_calendar(lua_redis: Any, seconds: int, window: Window) -> None:
    assert _window_in_lua(lua_redis, window, seconds) == _window_in_python(window, seconds)


@pytest.mark.parametrize("edge", EDGES, ids=str)
@pytest.mark.parametrize("window", sorted(Window))
def test_lua_has_the_same_edges(lua_redis: Any, edge: datetime, window: Window) -> None:
    seconds = int(edge.timestamp())

    assert _window_in_lua(lua_redis, window, seconds) == _window_in_python(window, seconds)


@against_redis
@example(prices=(MAX_PRICE_MICRO_USD,) * 3, tokens=(MAX_TOKENS, MAX_TOKENS, MAX_TOKENS))
@example(prices=(10**12 - 1,) * 3, tokens=(10**9, 10**9 - 1, 10**9))
@given(prices=st.tuples(MICRO_USD, MICRO_USD, MICRO_USD), tokens=st.tuples(TOKENS, TOKENS, TOKENS))
def test_lua_counts_to_the_last_micro_dollar(
    lua_redis: Any, prices: tuple[int, int, int], tokens: tuple[int, int, int]
) -> None:
    price, usage = Price(*prices), Usage(tokens[0], min(tokens[:2]), tokens[2])
    text = (
        lua("cost")
        + """
        local record = {
          price_input = tonumber(ARGV[1]), price_cached = tonumber(ARGV[2]), price_output = tonumber(ARGV[3]),
          max_input = tonumber(ARGV[4]), input = 0, cached = 0,
        }
        local output = tonumber(ARGV[6])
        return {cost(record, record.max_input, tonumber(ARGV[5]), output), cost_at(record, output)}
    """
    )

    in_lua = lua_redis.eval(text, 0, *prices, usage.input_tokens, usage.cached_input_tokens, usage.output_tokens)

    worst = worst_cost_micro_usd(price, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
    assert in_lua == [cost_micro_usd(price, usage), worst]


@given(prices=st.tuples(MICRO_USD, MICRO_USD, MICRO_USD), tokens=st.tuples(TOKENS, TOKENS, TOKENS))
def test_a_cost_is_exact_and_rounded_up_once(prices: tuple[int, int, int], tokens: tuple[int, int, int]) -> None:
    fresh, cached, output = tokens
    exact = sum(Fraction(count * each, 10**6) for count, each in zip(tokens, prices, strict=True))

    assert cost_micro_usd(Price(*prices), Usage(fresh + cached, cached, output)) == ceil(exact)


@given(
    prices=st.tuples(MICRO_USD, MICRO_USD, MICRO_USD),
    input_tokens=TOKENS,
    cached=TOKENS,
    output=TOKENS,
)
def test_no_usage_within_its_bounds_costs_more_than_the_worst(
    prices: tuple[int, int, int], input_tokens: int, cached: int, output: int
) -> None:
    price, usage = Price(*prices), Usage(input_tokens, min(cached, input_tokens), output)

    assert cost_micro_usd(price, usage) <= worst_cost_micro_usd(price, input_tokens=input_tokens, output_tokens=output)


def _window_in_lua(client: Any, window: Window, seconds: int) -> tuple[str, int | None]:
    text = lua("calendar") + "local id, ends = window_at(ARGV[1], tonumber(ARGV[2])) return {id, ends or -1}"
    identity, end_ms = client.eval(text, 0, window, seconds * 1000 + 999)
    return identity, None if end_ms < 0 else end_ms // 1000


def _window_in_python(window: Window, seconds: int) -> tuple[str, int | None]:
    found = period(window, seconds)
    return found.id, found.end_seconds
