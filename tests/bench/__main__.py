"""Everything that is measured: python -m tests.bench [--quick] [NAME ...]."""

from __future__ import annotations

import argparse
import time

import structlog
import uvloop

from tests.bench import (
    bench_cache,
    bench_cache_calibration,
    bench_cache_encoder,
    bench_cache_flight,
    bench_cache_index,
    bench_cache_memory,
    bench_cache_quality,
    bench_cache_semantic,
    bench_engine,
    bench_guard,
    bench_ledger,
    bench_ledger_scale,
    bench_mesh,
    bench_profile,
    bench_telemetry,
)
from tests.bench.measure import Bench, machine

BENCHES: dict[str, Bench] = {
    "cache": bench_cache.bench,
    "cache-calibration": bench_cache_calibration.bench,
    "cache-encoder": bench_cache_encoder.bench,
    "cache-flight": bench_cache_flight.bench,
    "cache-index": bench_cache_index.bench,
    "cache-memory": bench_cache_memory.bench,
    "cache-quality": bench_cache_quality.bench,
    "cache-semantic": bench_cache_semantic.bench,
    "engine": bench_engine.bench,
    "guard": bench_guard.bench,
    "ledger": bench_ledger.bench,
    "ledger-scale": bench_ledger_scale.bench,
    "mesh": bench_mesh.bench,
    "profile": bench_profile.bench,
    "telemetry": bench_telemetry.bench,
}
# Those that run only when they are asked for: vLLM takes half a minute to start, a profiler slows what it looks at, and
# a cache learns from 10,000 questions, twelve times and once more without its guard.
USUAL = tuple(name for name in BENCHES if name not in {"cache-calibration", "engine", "profile"})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; {', '.join(USUAL)} if none")
    parser.add_argument("--quick", action="store_true", help="short rounds, for CI: figures to look at, not to quote")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - BENCHES.keys()
    if unknown:
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    for name in arguments.names or USUAL:
        uvloop.run(_show(name, quick=arguments.quick))


async def _show(name: str, *, quick: bool) -> None:
    before, began = machine(), time.monotonic()
    tables = await BENCHES[name](quick=quick)
    print(f"\n=== {name}: {before}; took {time.monotonic() - began:.0f} s", *tables, sep="\n\n", flush=True)


if __name__ == "__main__":
    main()
