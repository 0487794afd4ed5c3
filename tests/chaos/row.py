"""A way in which two hundred clients may ask at once for what a key has money for ten times."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from libs.keys import sha256_of
from libs.money import Price
from libs.settings import schema
from tests.chaos.asking import Question
from tests.chaos.tenants import Payer

TEN, AT_ONCE = 10, 200
# The prompt is free, so that the money is for exactly ten: until the engine has counted it, a bound stands for it.
PRICE = Price(0, 0, 10_000_000, "probe")
_TOKEN_MICRO_USD = 10
# What the router takes where a request does not say.
_DEFAULT_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Row:
    """What the clients ask for, and how they behave."""

    name: str
    # Times the answer's length; None: not said, which is 512 tokens.
    asked_factor: int | None = 1
    whole: bool = False
    leave_after_tokens: int | None = None
    # They come again when RetryInfo says, until ten have a whole answer. There is then as much money more as the tenth
    # asks too much: without it, that one would have to wait for the next window.
    obeys: bool = False
    tokens: int = 200

    @property
    def payer(self) -> Payer:
        return Payer("".join(each for each in self.name if each.isalnum()), "probe")

    @property
    def max_tokens(self) -> int | None:
        return None if self.asked_factor is None else self.asked_factor * self.tokens

    @property
    def limit_micro_usd(self) -> int:
        too_many = (self.max_tokens or _DEFAULT_TOKENS) - self.tokens if self.obeys else 0
        return (TEN * self.tokens + too_many) * _TOKEN_MICRO_USD

    @property
    def question(self) -> Question:
        return Question(self.tokens, self.tokens, self.max_tokens, self.whole, self.leave_after_tokens)

    @property
    def organisation(self) -> schema.Organisation:
        limit_usd = Decimal(self.limit_micro_usd) / schema.MICRO_USD_PER_USD
        return schema.Organisation(
            name=self.payer.organisation,
            keys=(schema.Key(id=self.payer.key_id, sha256=sha256_of(self.payer.key)),),
            budgets=(schema.Limit(scope="key", subject=self.payer.key_id, window="month", limit_usd=limit_usd),),
            cache=schema.CachePolicy(enabled=False),
        )


ROWS = (
    Row("exact, Generate", whole=True),
    Row("exact, streamed"),
    Row("4 times too many", 4),
    Row("4 times too many, obeys RetryInfo", 4, obeys=True),
    Row("not said", None),
    Row("not said, obeys RetryInfo", None, obeys=True),
    Row("exact, leaves after token 1", leave_after_tokens=1),
    Row("exact, leaves after token 20", leave_after_tokens=20),
    # Longer than a first lease: what is held of them at first is not all that they need.
    Row("exact, three times as long", tokens=600),
    Row("exact, ten times as long", tokens=2_000),
)
