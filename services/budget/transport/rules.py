"""What a message must keep to. Each rule that it breaks is named by its field."""

from __future__ import annotations

import re
from collections.abc import Iterator

from libs.errors import FieldViolation
from services.budget.domain.money import MAX_PRICE_MICRO_USD, MAX_TOKENS
from services.budget.domain.receipt import SETTLED_WITH
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2
from tokenway.common.v1.principal_pb2 import Principal

# They become parts of Redis keys, where a brace or a colon would lead elsewhere.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_TEXT_CHARACTERS = 256
# What a Lua number holds exactly.
_MAX_SEQ = 2**53

Violations = Iterator[FieldViolation]


def broken_by_reserve(message: pb.ReserveRequest) -> Violations:
    yield from name("reservation_id", message.reservation_id)
    yield from name("replaces_reservation_id", message.replaces_reservation_id, optional=True)
    yield from broken_by_principal(message.principal)
    yield from text("request_id", message.request_id)
    yield from text("model", message.model)
    yield from text("price.version", message.price.version)
    for field in ("input", "cached_input", "output"):
        price = f"{field}_micro_usd_per_million_tokens"
        yield from at_most(f"price.{price}", getattr(message.price, price), MAX_PRICE_MICRO_USD)
    for field in ("max_input_tokens", "want_output_tokens", "max_output_tokens"):
        yield from at_most(field, getattr(message, field), MAX_TOKENS)


def broken_by_extend(message: pb.ExtendRequest) -> Violations:
    yield from _named(message)
    yield from _usage("used", message.used)
    yield from at_most("want_output_tokens", message.want_output_tokens, MAX_TOKENS)
    if not 1 <= message.seq <= _MAX_SEQ:
        yield FieldViolation("seq", f"is {message.seq}: count from 1 to {_MAX_SEQ}")


def broken_by_settle(message: pb.SettleRequest) -> Violations:
    yield from _named(message)
    yield from _usage("usage", message.usage)
    if message.outcome not in {money_pb2.Outcome.Value(f"OUTCOME_{each}") for each in SETTLED_WITH}:
        yield FieldViolation("outcome", f"is {message.outcome}: a request ends as one of {', '.join(_outcomes())}")


def broken_by_release(message: pb.ReleaseRequest) -> Violations:
    yield from _named(message)


def broken_by_principal(principal: Principal) -> Violations:
    yield from name("principal.organisation", principal.organisation)
    yield from name("principal.key_id", principal.key_id)
    yield from name("principal.user", principal.user, optional=True)
    yield from name("principal.team", principal.team, optional=True)


def _named(message: pb.ExtendRequest | pb.SettleRequest | pb.ReleaseRequest) -> Violations:
    yield from name("reservation_id", message.reservation_id)
    yield from name("organisation", message.organisation)


def _usage(field: str, usage: money_pb2.Usage) -> Violations:
    for each in ("input_tokens", "cached_input_tokens", "output_tokens"):
        yield from at_most(f"{field}.{each}", getattr(usage, each), MAX_TOKENS)
    if usage.cached_input_tokens > usage.input_tokens:
        yield FieldViolation(
            f"{field}.cached_input_tokens",
            f"is {usage.cached_input_tokens}, more than the {usage.input_tokens} input tokens that it is a part of",
        )


def name(field: str, value: str, *, optional: bool = False) -> Violations:
    if not (_NAME.fullmatch(value) or (optional and not value)):
        yield FieldViolation(
            field,
            f"is {value[:64]!r}: give 1 to 64 letters, digits, '.', '_' and '-', a letter or digit first",
        )


def text(field: str, value: str) -> Violations:
    if len(value) > _MAX_TEXT_CHARACTERS:
        yield FieldViolation(field, f"has {len(value)} characters: give at most {_MAX_TEXT_CHARACTERS}")


def at_most(field: str, value: int, most: int) -> Violations:
    if value > most:
        yield FieldViolation(field, f"is {value}: give at most {most}")


def _outcomes() -> list[str]:
    return sorted(f"OUTCOME_{each}" for each in SETTLED_WITH)
