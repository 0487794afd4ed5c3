"""Tokens, prices and what they come to. Pure; whole micro-US-dollars (1 USD = 1,000,000) throughout."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_TOKENS_PER_PRICE = 1_000_000


class UsageSource(StrEnum):
    """Who counted the tokens: the names of `tokenway.common.v1.UsageSource`."""

    UNSPECIFIED = "UNSPECIFIED"
    ENGINE = "ENGINE"
    PROVIDER = "PROVIDER"
    ESTIMATED = "ESTIMATED"
    PRESUMED = "PRESUMED"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written. The cached ones are a part of the input, not beside it."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    source: UsageSource = UsageSource.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-dollars per million tokens, by the version of the price list that they stand in."""

    input_micro_usd_per_million_tokens: int
    cached_input_micro_usd_per_million_tokens: int
    output_micro_usd_per_million_tokens: int
    version: str = "1"


def cost_micro_usd(price: Price, usage: Usage) -> int:
    """What the usage costs: rounded up once, over all its tokens, so that no request is free and parts telescope."""
    fresh = usage.input_tokens - usage.cached_input_tokens
    total = (
        fresh * price.input_micro_usd_per_million_tokens
        + usage.cached_input_tokens * price.cached_input_micro_usd_per_million_tokens
        + usage.output_tokens * price.output_micro_usd_per_million_tokens
    )
    return -(-total // _TOKENS_PER_PRICE)


def usd(micro_usd: int) -> str:
    """As people read it: `$0`, `$0.000008`, `$1.25`: whole cents at least, and never rounded."""
    if micro_usd == 0:
        return "$0"
    whole, fraction = divmod(micro_usd, 1_000_000)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{digits}"
