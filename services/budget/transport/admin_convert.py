"""An administrator's messages as the domain's words and back. What breaks a rule is INVALID_REQUEST, field by field."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from libs.errors import invalid_request
from libs.keys import KeyRole, StoredKey
from services.budget.domain.limits import Account, Limit, LimitName
from services.budget.domain.receipt import ReceiptQuery
from services.budget.transport import admin_rules as rules
from services.budget.transport.rules import Violations
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2, principal_pb2

_DEFAULT_PAGE_SIZE = 100
_ROLES: dict[int, KeyRole] = {
    principal_pb2.KEY_ROLE_UNSPECIFIED: "caller",
    principal_pb2.KEY_ROLE_CALLER: "caller",
    principal_pb2.KEY_ROLE_ADMIN: "admin",
}


def limit_from_proto(message: pb.PutBudgetRequest) -> tuple[str, Limit]:
    """The organisation, and its limit."""
    _refuse(rules.broken_by_put_budget(message))
    name = _limit_name(message.budget)
    return message.organisation, Limit(name.account, name.window, message.budget.limit, name.kind, name.soft)


def limit_name_from_proto(message: pb.DeleteBudgetRequest) -> tuple[str, LimitName]:
    """The organisation, and what names its limit."""
    _refuse(rules.broken_by_delete_budget(message))
    return message.organisation, _limit_name(message.budget)


def organisation_from_proto(message: pb.ListBudgetsRequest | pb.ListKeysRequest | pb.VerifyLedgerRequest) -> str:
    _refuse(rules.broken_by_list(message))
    return message.organisation


def query_from_proto(message: pb.ListReceiptsRequest) -> ReceiptQuery:
    _refuse(rules.broken_by_list_receipts(message))
    return ReceiptQuery(
        organisation=message.organisation,
        request_id=message.request_id,
        page_size=message.page_size or _DEFAULT_PAGE_SIZE,
        page_token=message.page_token,
        since_seconds=message.since.seconds + message.since.nanos / 1e9,
    )


def key_from_proto(message: pb.CreateKeyRequest, *, created_at: datetime) -> tuple[str, StoredKey]:
    """The key's SHA-256 in hex, and the key."""
    _refuse(rules.broken_by_create_key(message, now=created_at))
    key, principal = message.key, message.key.principal
    return message.key_sha256.hex(), StoredKey(
        key_id=principal.key_id,
        organisation=principal.organisation,
        user=principal.user,
        team=principal.team,
        role=_ROLES[principal.role],
        allowed_models=tuple(dict.fromkeys(key.allowed_models)),
        # To the second, as it is stored: nanos may be anything.
        expires_at=datetime.fromtimestamp(key.expires_at.seconds, UTC) if key.HasField("expires_at") else None,
        created_at=created_at,
    )


def revocation_from_proto(message: pb.RevokeKeyRequest) -> tuple[str, str]:
    """The organisation, and the id of its key."""
    _refuse(rules.broken_by_revoke_key(message))
    return message.organisation, message.key_id


def key_to_proto(key: StoredKey) -> principal_pb2.ApiKey:
    """Without its hash, which is nobody's business."""
    role = principal_pb2.KEY_ROLE_ADMIN if key.role == "admin" else principal_pb2.KEY_ROLE_CALLER
    return principal_pb2.ApiKey(
        principal=principal_pb2.Principal(
            key_id=key.key_id, user=key.user, team=key.team, organisation=key.organisation, role=role
        ),
        allowed_models=key.allowed_models,
        expires_at=_timestamp(key.expires_at),
        revoked_at=_timestamp(key.revoked_at),
        created_at=_timestamp(key.created_at),
    )


def _limit_name(budget: money_pb2.Budget) -> LimitName:
    account = Account(rules.SCOPES[budget.scope], budget.subject)
    return LimitName(account, rules.WINDOWS[budget.window], rules.KINDS[budget.kind], budget.soft)


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def _refuse(broken: Violations) -> None:
    violations = tuple(broken)
    if violations:
        raise invalid_request(*violations)
