"""Lines of a journal as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from libs.money import Price, Usage, UsageSource
from services.budget.domain.arrears import Arrear, Booked, Line, Taken
from services.budget.domain.lease import Reservation, ReservationId
from services.budget.domain.limits import Principal
from services.budget.domain.receipt import Outcome, Settlement

_KINDS = {Arrear: "arrear", Booked: "booked", Taken: "taken"}


def to_json(line: Line) -> str:
    """With its end."""
    return json.dumps({"kind": _KINDS[type(line)], **asdict(line)}, separators=(",", ":")) + "\n"


def from_json(text: str) -> Line:
    """A ValueError, KeyError or TypeError for what is no line."""
    fields: dict[str, Any] = dict(json.loads(text))
    match fields.pop("kind"):
        case "arrear":
            return _arrear(fields)
        case "booked":
            return Booked(fields["organisation"], ReservationId(fields["id"]))
        case "taken":
            return Taken(**fields)
        case kind:
            raise ValueError(f"kind {kind!r}")


def _arrear(fields: dict[str, Any]) -> Arrear:
    reservation, settlement = fields["reservation"], fields["settlement"]
    return Arrear(
        reservation=Reservation(
            **reservation | {"principal": Principal(**reservation["principal"]), "price": Price(**reservation["price"])}
        ),
        admitted_at_seconds=fields["admitted_at_seconds"],
        state=fields["state"],
        settlement=settlement and _settlement(settlement),
    )


def _settlement(fields: dict[str, Any]) -> Settlement:
    usage = fields["usage"]
    return Settlement(
        **fields
        | {
            "usage": Usage(**usage | {"source": UsageSource(usage["source"])}),
            "outcome": Outcome(fields["outcome"]),
        }
    )
