"""What the ledger can count, and the worst that a request can cost."""

from __future__ import annotations

from libs.money import Price, Usage, cost_micro_usd

# Lua counts in doubles, exact to 2^53 = 9.0e15. With these bounds every term of its arithmetic stays below 4e15.
MAX_TOKENS = 10**9
MAX_PRICE_MICRO_USD = 10**12
MAX_LIMIT = 10**15


def worst_cost_micro_usd(price: Price, *, input_tokens: int, output_tokens: int) -> int:
    """The cost when it is not known yet how much of the input is cached."""
    none_cached = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    all_cached = Usage(input_tokens, cached_input_tokens=input_tokens, output_tokens=output_tokens)
    return max(cost_micro_usd(price, none_cached), cost_micro_usd(price, all_cached))
