"""What may be spent, by whom, over which time; and how much of it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.budget.domain.money import MAX_LIMIT_MICRO_USD
from services.budget.domain.windows import Window


class Scope(StrEnum):
    """What an account is about."""

    KEY = "key"
    USER = "user"
    TEAM = "team"
    ORGANISATION = "organisation"


class Kind(StrEnum):
    """What a limit counts."""

    MONEY = "money"


@dataclass(frozen=True, slots=True)
class Account:
    """One of those for whom a request is counted. The subject is empty for the organisation."""

    scope: Scope
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.scope}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that an account may spend in a window; a ValueError beyond what the ledger can count."""

    account: Account
    window: Window
    limit_micro_usd: int
    kind: Kind = Kind.MONEY

    def __post_init__(self) -> None:
        if not 0 <= self.limit_micro_usd <= MAX_LIMIT_MICRO_USD:
            raise ValueError(
                f"a limit of {self.limit_micro_usd} micro-dollars: give 0 to {MAX_LIMIT_MICRO_USD}, a billion dollars"
            )


@dataclass(frozen=True, slots=True)
class BudgetState:
    """Where a limit stands in the window that is current now."""

    limit: Limit
    spent_micro_usd: int
    reserved_micro_usd: int
    # None: the window never ends.
    resets_at_seconds: int | None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who pays. User and team may be empty."""

    key_id: str
    organisation: str
    user: str = ""
    team: str = ""

    def accounts(self) -> tuple[Account, ...]:
        """Everybody for whom its requests are counted, the narrowest first."""
        return (Account(Scope.KEY, self.key_id), Account(Scope.ORGANISATION))


# The windows in which every account is counted, limited or not: so a limit set in the middle of a month knows what was
# spent before it.
WINDOWS = (Window.HOUR, Window.DAY, Window.MONTH)
