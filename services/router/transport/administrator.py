"""Who administers: a key with the role admin, and its own organisation alone. Who hears of it."""

from __future__ import annotations

from typing import Protocol

from libs.errors import Reason, TokenwayError
from libs.rpc.call import Call
from services.router.domain.principal import Principal


class Audit(Protocol):
    """Hears of every change that was made."""

    def changed(self, administrator: Principal, change: str, subject: str) -> None:
        """`change` is the RPC's name; `subject` says what it changed, and to what. Never a secret."""
        ...


def administrator(call: Call) -> Principal:
    """The caller; ROLE_REQUIRED for one who is no administrator."""
    principal = call.get(Principal)
    if principal.role != "admin":
        message = (
            f"the API key {principal.key_id} has the role caller, and this needs admin: use an administrator's key"
        )
        raise TokenwayError(Reason.ROLE_REQUIRED, message, {"key_id": principal.key_id})
    return principal
