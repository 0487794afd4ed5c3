"""A principal on the wire."""

from __future__ import annotations

from services.router.domain.principal import Principal
from tokenway.common.v1.principal_pb2 import KEY_ROLE_ADMIN, KEY_ROLE_CALLER
from tokenway.common.v1.principal_pb2 import Principal as PrincipalMessage

_ROLES = {"caller": KEY_ROLE_CALLER, "admin": KEY_ROLE_ADMIN}


def principal_to_proto(principal: Principal) -> PrincipalMessage:
    return PrincipalMessage(
        key_id=principal.key_id,
        user=principal.user,
        team=principal.team,
        organisation=principal.organisation,
        role=_ROLES[principal.role],
    )
