"""What an administrator's message must keep to. Each rule that it breaks is named by its field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from libs.errors import FieldViolation
from services.budget.domain.limits import Kind, Scope, why_uncounted
from services.budget.domain.money import MAX_LIMIT
from services.budget.domain.windows import Window
from services.budget.transport.rules import Violations, at_most, name, text
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2, principal_pb2

SCOPES = {money_pb2.BudgetScope.Value(f"BUDGET_SCOPE_{each.upper()}"): each for each in Scope}
WINDOWS = {money_pb2.BudgetWindow.Value(f"BUDGET_WINDOW_{each.upper()}"): each for each in Window}
_GIVEN_KINDS = {money_pb2.BudgetKind.Value(f"BUDGET_KIND_{each.upper()}"): each for each in Kind}
KINDS = {money_pb2.BUDGET_KIND_UNSPECIFIED: Kind.MONEY, **_GIVEN_KINDS}
_MAX_PAGE_SIZE = 1_000
_MAX_MODELS = 100
_SHA256_BYTES = 32
# The place of an entry in a Redis stream. None is at 0-0, and Redis takes nothing before it for an error.
_PAGE_TOKEN = re.compile(r"(?!0+-0+$)[0-9]{1,19}-[0-9]{1,19}")
# Timestamp's own bound, the end of the year 9999.
_MAX_SECONDS = 253_402_300_799


def broken_by_put_budget(message: pb.PutBudgetRequest) -> Violations:
    yield from name("organisation", message.organisation)
    yield from _budget(message.budget)
    yield from at_most("budget.limit", message.budget.limit, MAX_LIMIT)


def broken_by_delete_budget(message: pb.DeleteBudgetRequest) -> Violations:
    yield from name("organisation", message.organisation)
    yield from _budget(message.budget)


def broken_by_list(message: pb.ListBudgetsRequest | pb.ListKeysRequest | pb.VerifyLedgerRequest) -> Violations:
    yield from name("organisation", message.organisation)


def broken_by_list_receipts(message: pb.ListReceiptsRequest) -> Violations:
    yield from name("organisation", message.organisation)
    yield from text("request_id", message.request_id)
    yield from at_most("page_size", message.page_size, _MAX_PAGE_SIZE)
    if message.page_token and not _PAGE_TOKEN.fullmatch(message.page_token):
        yield FieldViolation("page_token", f"is {message.page_token[:64]!r}: give the next_page_token of an answer")
    yield from at_most("since.seconds", message.since.seconds, _MAX_SECONDS)


def broken_by_create_key(message: pb.CreateKeyRequest, *, now: datetime) -> Violations:
    principal = message.key.principal
    if len(message.key_sha256) != _SHA256_BYTES:
        yield FieldViolation("key_sha256", f"has {len(message.key_sha256)} bytes: give the 32 of a SHA-256")
    yield from name("key.principal.organisation", principal.organisation)
    yield from name("key.principal.key_id", principal.key_id)
    yield from name("key.principal.user", principal.user, optional=True)
    yield from name("key.principal.team", principal.team, optional=True)
    if principal.role not in principal_pb2.KeyRole.values():
        yield FieldViolation("key.principal.role", f"is {principal.role}: give KEY_ROLE_CALLER or KEY_ROLE_ADMIN")
    if len(message.key.allowed_models) > _MAX_MODELS:
        yield FieldViolation("key.allowed_models", f"has {len(message.key.allowed_models)}: give at most {_MAX_MODELS}")
    for index, model in enumerate(message.key.allowed_models[:_MAX_MODELS]):
        yield from name(f"key.allowed_models[{index}]", model)
    yield from _expiry(message.key, now)


def broken_by_revoke_key(message: pb.RevokeKeyRequest) -> Violations:
    yield from name("organisation", message.organisation)
    yield from name("key_id", message.key_id)


def _budget(budget: money_pb2.Budget) -> Violations:
    if budget.scope not in SCOPES:
        yield _not_served("budget.scope", budget.scope, money_pb2.BudgetScope.items(), SCOPES)
    elif budget.scope != money_pb2.BUDGET_SCOPE_ORGANISATION:
        yield from name("budget.subject", budget.subject)
    elif budget.subject:
        yield FieldViolation("budget.subject", f"is {budget.subject[:64]!r}: a budget of the organisation has none")
    if budget.window not in WINDOWS:
        yield _not_served("budget.window", budget.window, money_pb2.BudgetWindow.items(), WINDOWS)
    if budget.kind not in KINDS:
        yield _not_served("budget.kind", budget.kind, money_pb2.BudgetKind.items(), _GIVEN_KINDS)
    elif budget.window in WINDOWS and (reason := why_uncounted(KINDS[budget.kind], WINDOWS[budget.window])):
        yield FieldViolation("budget.window", f"is {WINDOWS[budget.window]}: {reason}")


def _expiry(key: principal_pb2.ApiKey, now: datetime) -> Violations:
    if not key.HasField("expires_at"):
        return
    seconds = key.expires_at.seconds
    if not now.timestamp() < seconds <= _MAX_SECONDS:
        yield FieldViolation(
            "key.expires_at", f"is {seconds} s after 1970: give a moment that is to come, before the year 10000"
        )


def _not_served(field: str, value: int, known: Iterable[tuple[str, int]], served: Iterable[int]) -> FieldViolation:
    names: dict[int, str] = {number: each for each, number in known}
    given = names.get(value, value)
    listed = ", ".join(names[each] for each in served)
    return FieldViolation(field, f"is {given}: that is not served, give {listed}")
