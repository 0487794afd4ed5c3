"""Release, over a real socket."""

from __future__ import annotations

from libs.errors import Reason
from tests.rpc.budget.served import RELEASE, RESERVE, Served, release, reserve


async def test_a_release_says_what_it_returned_however_often_it_is_asked(budget: Served) -> None:
    await budget.call(RESERVE, reserve())

    assert (await budget.call(RELEASE, release())).released_micro_usd == 110
    assert (await budget.call(RELEASE, release())).released_micro_usd == 110


async def test_what_never_was_cannot_be_released(budget: Served) -> None:
    error = await budget.refused(RELEASE, release(), Reason.RESERVATION_NOT_FOUND)

    assert error.metadata == {"reservation_id": "r1"}


async def test_every_broken_rule_is_named(budget: Served) -> None:
    error = await budget.refused(RELEASE, release(reservation_id="", organisation=":"), Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == ["reservation_id", "organisation"]
