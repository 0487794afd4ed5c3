"""Whether the cache can be made to give a wrong answer, or none: python -m tests.chaos.cache [--rounds 4] [--seed N].

Waves of clients ask the same at once over two routers and two replicas of the cache. Meanwhile a replica is killed or
stands still, the leader leaves or its router is killed, Redis stands still or is killed. What the clients got is held
against what the engine was told to say, and the generations are counted at the engine. Exit code 0 if every bar holds.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.cache", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="of a wave of each kind (default 4)")
    parser.add_argument("--askers", type=int, default=100, help="of a wave (default 100)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of what is drawn by lot")
    parser.add_argument("--mutant", action="store_true", help="one that gives a lost answer an end: has to be seen")
    # Read when gRPC is imported; tests/truth says why.
    os.environ |= {"GRPC_ENABLE_FORK_SUPPORT": "false", "GRPC_VERBOSITY": "ERROR"}
    sys.exit(_run(parser.parse_args()))


def _run(given: argparse.Namespace) -> int:
    import uvloop

    from tests.chaos.stampede_report import StampedeReport
    from tests.chaos.stampede_run import MUTANT, all_waves, waves

    began_at = time.monotonic()
    print(f"seed {given.seed}: {given.rounds} rounds of waves of {given.askers}")
    asked = {"rounds": given.rounds, "askers": given.askers, "seed": given.seed}
    found = waves(**asked, cache=MUTANT, say=print) if given.mutant else all_waves(**asked, say=print)
    report = StampedeReport(uvloop.run(found))
    print("", report, f"It took {time.monotonic() - began_at:.0f} s.", sep="\n")
    return int(not report.holds)


if __name__ == "__main__":
    main()
