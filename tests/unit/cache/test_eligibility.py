"""Which questions may be cached: a table."""

from __future__ import annotations

import pytest

from libs.generation.question import Image, Text, Tool, ToolChoice, ToolMode
from services.cache.domain.eligibility import BypassReason, bypass_reason
from services.cache.domain.model import Question, Scope
from tests.unit.cache.questions import asked, question

TOOL = Tool("f", "", "{}")


@pytest.mark.parametrize(
    ("asks", "reason"),
    [
        (question(), None),
        (question(asked(temperature=0.01)), BypassReason.TEMPERATURE),
        (question(asked(temperature=0.7), reuse_sampled=True), None),
        (question(understood=False), BypassReason.UNKNOWN_FIELDS),
        (question(asked(temperature=1), understood=False, reuse_sampled=True), BypassReason.UNKNOWN_FIELDS),
        (question(scope=Scope.TEAM), BypassReason.SCOPE),
        (question(scope=Scope.TEAM, team="web"), None),
        (question(scope=Scope.USER), BypassReason.SCOPE),
        (question(scope=Scope.USER, user="ann"), None),
        (question(scope=Scope.KEY), None),
        (question(scope=Scope.KEY, key_id=""), BypassReason.SCOPE),
        (question(asked(tools=(TOOL,), tool_choice=ToolChoice(ToolMode.AUTO))), None),
        (question(asked((Image(b"x", "image/png"), Text("what?")))), None),
    ],
)
def test_a_question_may_be_cached_unless_there_is_a_reason(asks: Question, reason: BypassReason | None) -> None:
    assert bypass_reason(asks) is reason
