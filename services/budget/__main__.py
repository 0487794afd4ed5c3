"""python -m services.budget --config FILE"""

from __future__ import annotations

from libs.rpc.process import run
from services.budget.config import BudgetConfig
from services.budget.server import serve

if __name__ == "__main__":
    run("budget", BudgetConfig.from_settings, serve)
