"""`python -m services.cache --config FILE`."""

from libs.rpc.process import run
from services.cache.config import CacheConfig
from services.cache.server import serve

if __name__ == "__main__":
    run("cache", CacheConfig.from_settings, serve)
