"""python -m services.router --config FILE"""

from __future__ import annotations

from libs.rpc.process import run
from services.router.config import RouterConfig
from services.router.server import serve

if __name__ == "__main__":
    run("router", RouterConfig.from_settings, serve)
