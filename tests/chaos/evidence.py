"""What happened, by the files that engines and clients wrote themselves: nothing here was told by the mesh."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from libs.money import Price, Usage, cost_micro_usd
from tests.chaos.orders import Asked
from tests.chaos.tenants import Payer


@dataclass(frozen=True)
class Evidence:
    """Tokens made and tokens received by request id, and the requests."""

    price: Price
    made: Counter[str]
    received: Counter[str]
    asked: tuple[Asked, ...]

    @classmethod
    def of_files(cls, price: Price, made: Path, received: Iterable[Path], asked: Iterable[Path]) -> Evidence:
        return cls(
            price=price,
            made=_tokens([made]),
            received=_tokens(received),
            asked=tuple(Asked(**each) for each in _lines(asked)),
        )

    @cached_property
    def delivered_micro_usd(self) -> dict[str, int]:
        """By request id: what the tokens that came to the client cost, and its prompt if any came."""
        prompts = {each.request_id: each.input_tokens for each in self.asked}
        return {
            request_id: cost_micro_usd(self.price, Usage(input_tokens=prompts[request_id], output_tokens=tokens))
            for request_id, tokens in self.received.items()
        }

    def delivered_to(self, organisation: str, account: str) -> int:
        """What the requests of an account received, in micro-dollars."""
        return sum(
            self.delivered_micro_usd.get(each.request_id, 0)
            for each in self.asked
            if each.organisation == organisation and account in Payer(organisation, each.key_id).accounts
        )

    @property
    def never_made(self) -> int:
        """Tokens that clients have and no engine made."""
        return sum((self.received - self.made).values())

    @property
    def discarded(self) -> int:
        """Tokens that were made and came to no client."""
        return sum((self.made - self.received).values())

    @property
    def at_once(self) -> int:
        """The most requests that were answered at one time."""
        begun = [(each.began_at, 1) for each in self._answered]
        ended = [(each.ended_at, -1) for each in self._answered]
        return max(accumulate(change for _, change in sorted(begun + ended)), default=0)

    @property
    def _answered(self) -> list[Asked]:
        return [each for each in self.asked if each.request_id in self.received]

    @property
    def endings(self) -> Counter[str]:
        return Counter(each.ending for each in self.asked)


def _tokens(files: Iterable[Path]) -> Counter[str]:
    return Counter(each["request_id"] for each in _lines(files))


def _lines(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for file in files:
        with file.open() as lines:
            yield from map(json.loads, lines)
