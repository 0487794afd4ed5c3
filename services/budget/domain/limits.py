"""What may be spent, by whom, over which time; and how much of it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.budget.domain.money import MAX_LIMIT
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
    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    # Requests that are open at once.
    CONCURRENCY = "concurrency"


@dataclass(frozen=True, slots=True)
class Account:
    """One of those for whom a request is counted. The subject is empty for the organisation."""

    scope: Scope
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.scope}:{self.subject}"


@dataclass(frozen=True, slots=True)
class LimitName:
    """What an account has one limit of: a soft limit beside a hard one is another."""

    account: Account
    window: Window
    kind: Kind = Kind.MONEY
    # Warns and refuses nothing.
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that an account may use in a window; a ValueError for what the ledger cannot count."""

    account: Account
    window: Window
    # Micro-US-dollars, requests or tokens, by the kind.
    most: int
    kind: Kind = Kind.MONEY
    soft: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.most <= MAX_LIMIT:
            raise ValueError(f"a limit of {self.most}: give 0 to {MAX_LIMIT}, for money a billion dollars")
        if reason := why_uncounted(self.kind, self.window):
            raise ValueError(f"a limit of {self.kind} by {self.window}: {reason}")

    @property
    def name(self) -> LimitName:
        return LimitName(self.account, self.window, self.kind, self.soft)


def why_uncounted(kind: Kind, window: Window) -> str:
    """Why nothing of that kind is counted over that window; empty where it is."""
    if kind is Kind.CONCURRENCY and window is not Window.TOTAL:
        return "open requests are counted at any instant, not over a time: give the window total"
    return ""


@dataclass(frozen=True, slots=True)
class BudgetState:
    """Where a limit stands now, in the limit's unit."""

    limit: Limit
    used: int
    reserved: int
    # None: the window never ends, or slides.
    resets_at_seconds: int | None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who pays. User and team may be empty."""

    key_id: str
    organisation: str
    user: str = ""
    team: str = ""

    def accounts(self) -> tuple[Account, ...]:
        """Everybody for whom its requests are counted, the narrowest first. All belong to its organisation."""
        named = ((Scope.KEY, self.key_id), (Scope.USER, self.user), (Scope.TEAM, self.team))
        return (*(Account(scope, subject) for scope, subject in named if subject), Account(Scope.ORGANISATION))


# The windows in which the money of every account is counted, limited or not: so a limit set in the middle of a month
# knows what was spent before it. Money by the minute, tokens, requests and concurrency are counted from the moment at
# which there is a limit for them.
WINDOWS = (Window.HOUR, Window.DAY, Window.MONTH, Window.TOTAL)
