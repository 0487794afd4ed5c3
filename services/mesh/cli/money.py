"""Amounts as people read them."""

from __future__ import annotations


def usd(micro_usd: int) -> str:
    """`$0`, `$0.000008`, `$1.25`: whole cents at least, and never rounded."""
    if micro_usd == 0:
        return "$0"
    whole, fraction = divmod(micro_usd, 1_000_000)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{digits}"
