"""What crosses the wire means the same on both sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import Reason, TokenwayError
from libs.money import Price, Usage, UsageSource
from libs.rpc.money import price_to_proto, usage_to_proto
from services.budget.domain.lease import Extension, Lease, Reservation, ReservationId
from services.budget.domain.limits import Account, BudgetState, Limit, Principal, Scope
from services.budget.domain.money import MAX_PRICE_MICRO_USD, MAX_TOKENS
from services.budget.domain.receipt import SETTLED_WITH, Outcome, Receipt, Settlement
from services.budget.domain.windows import Window
from services.budget.transport import convert
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2, principal_pb2

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
OPTIONAL_NAMES = st.just("") | NAMES
TEXTS = st.text(max_size=256)
TOKENS = st.integers(0, MAX_TOKENS)
PRICES = st.builds(Price, *[st.integers(0, MAX_PRICE_MICRO_USD)] * 3, version=TEXTS)
PRINCIPALS = st.builds(Principal, key_id=NAMES, organisation=NAMES, user=OPTIONAL_NAMES, team=OPTIONAL_NAMES)
IDS = NAMES.map(ReservationId)
SEQS = st.integers(1, 2**53)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    input_tokens = draw(TOKENS)
    cached = draw(st.integers(0, input_tokens))
    return Usage(input_tokens, cached, draw(TOKENS), draw(st.sampled_from(UsageSource)))


@given(
    st.builds(
        Reservation,
        id=IDS,
        request_id=TEXTS,
        principal=PRINCIPALS,
        model=TEXTS,
        price=PRICES,
        max_input_tokens=TOKENS,
        want_output_tokens=st.integers(1, MAX_TOKENS),
        max_output_tokens=TOKENS,
        replaces=st.none() | IDS,
    )
)
def test_a_reservation_arrives_as_it_was_sent(reservation: Reservation) -> None:
    message = pb.ReserveRequest(
        reservation_id=reservation.id,
        request_id=reservation.request_id,
        principal=_principal(reservation.principal),
        model=reservation.model,
        price=price_to_proto(reservation.price),
        max_input_tokens=reservation.max_input_tokens,
        want_output_tokens=reservation.want_output_tokens,
        max_output_tokens=reservation.max_output_tokens,
        replaces_reservation_id=reservation.replaces or "",
    )

    assert convert.reservation_from_proto(message, first_lease_tokens=256) == reservation


@given(
    st.builds(
        Extension, id=IDS, organisation=NAMES, seq=st.integers(1, 2**53), used=usages(), want_output_tokens=TOKENS
    )
)
def test_an_extension_arrives_as_it_was_sent(extension: Extension) -> None:
    message = pb.ExtendRequest(
        reservation_id=extension.id,
        organisation=extension.organisation,
        seq=extension.seq,
        used=usage_to_proto(extension.used),
        want_output_tokens=extension.want_output_tokens,
    )

    assert convert.extension_from_proto(message) == extension


@given(
    st.builds(
        Settlement, id=IDS, organisation=NAMES, usage=usages(), outcome=st.sampled_from(sorted(SETTLED_WITH)), why=TEXTS
    )
)
def test_a_settlement_arrives_as_it_was_sent(settlement: Settlement) -> None:
    message = pb.SettleRequest(
        reservation_id=settlement.id,
        organisation=settlement.organisation,
        usage=usage_to_proto(settlement.usage),
        outcome=money_pb2.Outcome.Value(f"OUTCOME_{settlement.outcome}"),
        why=settlement.why,
    )

    assert convert.settlement_from_proto(message) == settlement


@given(PRINCIPALS)
def test_a_principal_arrives_as_it_was_sent(principal: Principal) -> None:
    assert convert.principal_from_proto(_principal(principal)) == principal


def test_a_release_arrives_as_it_was_sent() -> None:
    assert convert.release_from_proto(pb.ReleaseRequest(reservation_id="r1", organisation="acme")) == ("acme", "r1")


def test_a_lease_leaves_with_all_that_it_says() -> None:
    message = convert.lease_to_proto(Lease(100, 59.999, 110, whole=True))

    assert (message.output_tokens, message.reserved_micro_usd, message.whole) == (100, 110, True)
    assert message.lifetime.ToMilliseconds() == 59_999


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_its_word_on_the_wire(outcome: Outcome) -> None:
    receipt = Receipt(
        request_id="q1",
        reservation_id=ReservationId("r1"),
        key_id="ada",
        model="small",
        price=Price(1, 2, 3, "v1"),
        usage=Usage(4, 1, 5, UsageSource.ENGINE),
        cost_micro_usd=6,
        outcome=outcome,
        why="the only one",
        uncovered_micro_usd=7,
        booked_at_seconds=8.25,
    )

    message = convert.receipt_to_proto(receipt)

    assert money_pb2.Outcome.Name(message.outcome) == f"OUTCOME_{outcome}"
    assert message.booked_at.ToMilliseconds() == 8_250
    assert (message.cost_micro_usd, message.uncovered_micro_usd, message.settled) == (6, 7, True)


def test_the_domain_knows_every_outcome_of_the_wire() -> None:
    assert {f"OUTCOME_{each}" for each in Outcome} == set(money_pb2.Outcome.keys()) - {"OUTCOME_UNSPECIFIED"}


@pytest.mark.parametrize("window", Window)
@pytest.mark.parametrize("scope", Scope)
def test_every_limit_has_its_words_on_the_wire(scope: Scope, window: Window) -> None:
    state = BudgetState(Limit(Account(scope, "x"), window, 10), 1, 2, None if window is Window.TOTAL else 3_600)

    message = convert.state_to_proto(state)

    assert money_pb2.BudgetScope.Name(message.budget.scope) == f"BUDGET_SCOPE_{scope.upper()}"
    assert money_pb2.BudgetWindow.Name(message.budget.window) == f"BUDGET_WINDOW_{window.upper()}"
    assert (message.budget.subject, message.budget.limit, message.used, message.reserved) == ("x", 10, 1, 2)
    assert message.HasField("resets_at") == (window is not Window.TOTAL)


@pytest.mark.parametrize("name", ["", "{acme}", "a:b", "a b", "-a", "a" * 65, "ä", "a\n"])
def test_a_name_that_could_lead_to_another_key_is_refused(name: str) -> None:
    with pytest.raises(TokenwayError) as caught:
        convert.release_from_proto(pb.ReleaseRequest(reservation_id=name, organisation=name))

    assert caught.value.reason is Reason.INVALID_REQUEST
    assert [each.field for each in caught.value.fields] == ["reservation_id", "organisation"]


def _principal(principal: Principal) -> principal_pb2.Principal:
    return principal_pb2.Principal(
        key_id=principal.key_id, organisation=principal.organisation, user=principal.user, team=principal.team
    )
