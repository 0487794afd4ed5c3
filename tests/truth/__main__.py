"""Whether traces tell the truth: python -m tests.truth [--requests 10000] [--seed 0].

Real processes, every ending, kills in mid-stream; each trace is compared with what its caller saw. Exit code 0 if the
share of the true ones reaches the goal.
"""

from __future__ import annotations

import argparse
import os
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="some endings take one more (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn by lot")
    arguments = parser.parse_args()
    # Read when gRPC is imported. uvloop forks, where asyncio does not: in what it starts gRPC's handlers of forks would
    # run, and crash it now and then.
    os.environ |= {"GRPC_ENABLE_FORK_SUPPORT": "false", "GRPC_VERBOSITY": "ERROR"}
    sys.exit(_run(requests=arguments.requests, seed=arguments.seed))


def _run(*, requests: int, seed: int) -> int:
    import structlog
    import uvloop

    from tests.truth.report import GOAL_PERCENT, Report
    from tests.truth.run import truth

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    began = time.monotonic()
    report = Report(uvloop.run(truth(requests=requests, seed=seed)))
    print(report, f"It took {time.monotonic() - began:.0f} s.", sep="\n\n")
    return int(report.share_percent < GOAL_PERCENT)


if __name__ == "__main__":
    main()
