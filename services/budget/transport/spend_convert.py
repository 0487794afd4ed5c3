"""Questions about sums as the domain's words, and their answers back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from libs.errors import invalid_request
from services.budget.domain.spend import Dimension, SpendQuery, SpendRow
from services.budget.domain.verification import Difference, Finding, Progress, Verified
from services.budget.transport import spend_rules as rules
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2

_ROWS_A_MESSAGE = 500
_FIELDS = {each: "key_id" if each is Dimension.KEY else str(each) for each in Dimension}


def spend_query_from_proto(message: pb.GetSpendRequest) -> SpendQuery:
    broken = tuple(rules.broken_by_get_spend(message))
    if broken:
        raise invalid_request(*broken)
    return SpendQuery(
        organisation=message.organisation,
        first=date.fromisoformat(message.first_day),
        last=date.fromisoformat(message.last_day),
        by=tuple(rules.DIMENSIONS[each] for each in message.by),
    )


def spend_to_proto(rows: Sequence[SpendRow], by: tuple[Dimension, ...]) -> Iterator[pb.GetSpendResponse]:
    """All of them, some a message; without a row no message."""
    for first in range(0, len(rows), _ROWS_A_MESSAGE):
        yield pb.GetSpendResponse(rows=[_row(each, by) for each in rows[first : first + _ROWS_A_MESSAGE]])


def finding_to_proto(finding: Finding) -> pb.VerifyLedgerResponse:
    match finding:
        case Progress():
            return pb.VerifyLedgerResponse(progress=money_pb2.VerificationProgress(**asdict(finding)))
        case Difference():
            return pb.VerifyLedgerResponse(difference=money_pb2.SumDifference(**asdict(finding)))
        case Verified():
            return pb.VerifyLedgerResponse(verified=money_pb2.VerifiedLedger(**asdict(finding)))


def _row(row: SpendRow, by: tuple[Dimension, ...]) -> money_pb2.Spend:
    names: dict[str, Any] = {_FIELDS[dimension]: name for dimension, name in zip(by, row.names, strict=True)}
    return money_pb2.Spend(**names, **asdict(row.spent))
