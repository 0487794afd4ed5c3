"""Who changed what: one line in the log, and attributes on the call's span. Never a secret."""

from __future__ import annotations

import structlog
from opentelemetry import trace

from libs.telemetry import names
from services.router.domain.principal import Principal


class Audit:
    """Told of a change once it is made; what is refused is in the log of calls."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("audit")

    def changed(self, administrator: Principal, change: str, subject: str) -> None:
        """`change` is the RPC's name; `subject` says what it changed, and to what."""
        self._log.info(
            "administration",
            change=change,
            subject=subject,
            organisation=administrator.organisation,
            key_id=administrator.key_id,
        )
        span = trace.get_current_span()
        span.set_attribute(names.ADMIN_CHANGE, change)
        span.set_attribute(names.ADMIN_SUBJECT, subject)
        span.set_attribute(names.ORGANISATION, administrator.organisation)
        span.set_attribute(names.KEY_ID, administrator.key_id)
