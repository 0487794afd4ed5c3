"""Each bar of the chaos run falls for what it is there for, and for nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from libs.money import UsageSource
from tests.chaos.books import Booked, Books, Stand
from tests.chaos.evidence import Evidence
from tests.chaos.orders import Asked
from tests.chaos.tenants import PRICE, tenants
from tests.chaos.verdict import Verdict

# Money for 100 micro-dollars a day; the one request got 5 tokens for 7 + 50.
ORGANISATIONS = tenants(1, money_micro_usd=100)
NAME = ORGANISATIONS[0].name
ASKED = Asked("r", NAME, "one", 7, "whole")
RECEIPT = Booked("r", "one", "FINISHED", UsageSource.ENGINE, 5, 57)
EVIDENCE = Evidence(PRICE, made=Counter({"r": 6}), received=Counter({"r": 5}), asked=(ASKED,))
STANDS = tuple(Stand(account, "day", "20260102", 57, 0) for account in ("key:one", "organisation:"))
BOOKS = Books(NAME, {"a": RECEIPT}, STANDS, open_leases=0)
RICH = Books("rich", {}, (), 0)


def verdict(*, evidence: Evidence = EVIDENCE, books: Books = BOOKS, ended_at: int = 100) -> Verdict:
    return Verdict(evidence, {NAME: books, "rich": RICH}, ORGANISATIONS, 0, ended_at, 0)


def fallen(found: Verdict) -> dict[str, int]:
    return {name: value for name, value in found.bars.items() if value}


def test_a_request_that_was_paid_as_it_was_delivered_breaks_nothing() -> None:
    assert verdict().holds
    assert verdict().evidence.discarded == 1


def with_tokens(*, made: int, received: int) -> Evidence:
    return replace(EVIDENCE, made=Counter({"r": made}), received=Counter({"r": received}))


def receipt(**changes: object) -> Books:
    changed = replace(RECEIPT, **changes)  # type: ignore[arg-type]  # a test's own names
    stands = tuple(replace(each, spent=changed.cost_micro_usd) for each in STANDS)
    return replace(BOOKS, receipts={"a": changed}, counters=stands)


@pytest.mark.parametrize(
    ("found", "bars"),
    [
        (
            verdict(evidence=with_tokens(made=10, received=10), books=receipt(output_tokens=10, cost_micro_usd=107)),
            {"overspend": 7, "counters above a limit": 7},
        ),
        (verdict(evidence=with_tokens(made=6, received=6)), {"delivered beyond what was booked": 10}),
        (
            verdict(evidence=with_tokens(made=5, received=6), books=receipt(cost_micro_usd=67)),
            {"tokens delivered, never made": 1},
        ),
        (verdict(books=receipt(output_tokens=7, cost_micro_usd=77)), {"tokens billed, never made": 1}),
        (verdict(books=replace(BOOKS, open_leases=1)), {"leases after expiry": 1}),
        (
            verdict(books=replace(BOOKS, counters=tuple(replace(each, reserved=3) for each in STANDS))),
            {"reserved after expiry": 3, "ledger - counters": 6},
        ),
        (
            verdict(books=replace(BOOKS, receipts={})),
            {"delivered beyond what was booked": 57, "ledger - counters": 114},
        ),
    ],
)
def test_a_bar_falls(found: Verdict, bars: dict[str, int]) -> None:
    assert fallen(found) == bars


def test_what_is_presumed_may_be_more_than_was_made() -> None:
    presumed = receipt(outcome="PRESUMED", source=UsageSource.PRESUMED, output_tokens=9, cost_micro_usd=97)
    found = verdict(books=presumed)
    assert found.holds
    assert (found.presumed, found.presumed_undelivered) == (97, 40)


def test_a_run_over_the_edge_of_a_window_has_the_money_of_both() -> None:
    twice = with_tokens(made=15, received=15)
    assert verdict(evidence=twice).overspend == 57
    assert verdict(evidence=twice, ended_at=86_400).overspend == 0
