"""Which questions may be answered from the cache at all, and which answers may be kept."""

from __future__ import annotations

from enum import StrEnum

from services.cache.domain.key import scope_subject
from services.cache.domain.model import Question, Scope


class BypassReason(StrEnum):
    """Why a question may not be cached."""

    UNKNOWN_FIELDS = "unknown_fields"
    TEMPERATURE = "temperature"
    SCOPE = "scope"
    # Of the caller's own will.
    REFRESH = "refresh"


def bypass_reason(question: Question) -> BypassReason | None:
    """Why the exact tier must not serve or keep an answer to this; None when it may.

    The exact key holds tools, tool history, images and code as they are, so those may be asked for; an answer that
    *calls* a tool is refused when it is filled. The semantic tier, where the last words may differ, will refuse all of
    these too.
    """
    if not question.understood:
        return BypassReason.UNKNOWN_FIELDS
    if question.input.sampling.temperature > 0 and not question.reuse_sampled:
        # Whoever samples wants another draw, unless the organisation says otherwise.
        return BypassReason.TEMPERATURE
    if question.scope is not Scope.ORGANISATION and not scope_subject(question):
        # "Within the team", and the key has no team: all who have none would share.
        return BypassReason.SCOPE
    return None
