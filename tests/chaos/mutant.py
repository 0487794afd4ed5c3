"""A budget that books and reserves as ever, and refuses nobody: python -m tests.chaos.mutant --config FILE.

What the chaos run says of it has to be an overspend; else the run could not see one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from libs.rpc.process import run
from services.budget.adapters import redis_ledger
from services.budget.config import BudgetConfig
from services.budget.server import serve

_CHECK = re.compile(r"^local function refusal\([^)]*\)$", re.MULTILINE)


def unchecked(lua: Callable[[str], str]) -> Callable[[str], str]:
    """The same files, without the check of limits."""

    def altered(name: str) -> str:
        text, found = _CHECK.subn(r"\g<0>\n  do return nil end", lua(name))
        assert found == (name == "limits"), f"the check is no longer where it was: {name}.lua has {found}"
        return text

    return altered


if __name__ == "__main__":
    setattr(redis_ledger, "lua", unchecked(redis_ledger.lua))  # noqa: B010 # mypy takes functions for constants
    run("budget", BudgetConfig.from_settings, serve)
