"""Whether the cache can be made to give a wrong answer, or none: python -m tests.chaos.cache [--rounds 4] [--seed N].

Waves of clients ask the same at once over two routers and two replicas of the cache. Meanwhile a replica is killed or
stands still, the leader leaves or its router is killed, Redis stands still or is killed. What the clients got is held
against what the engine was told to say, and the generations are counted at the engine.

Then the same few questions are asked over and over, of an engine that says when it began, and what was answered is
invalidated while replicas and Redis are struck. An answer is stale if it was begun before an invalidation that had been
confirmed before it was asked for. Exit code 0 if every bar holds.
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
    parser.add_argument("--stale-seconds", type=float, default=30, help="of invalidations amid strikes (default 30)")
    mutant = "a cache that gives lost answers an end and stores what was invalidated: has to be seen"
    parser.add_argument("--mutant", action="store_true", help=mutant)
    # Read when gRPC is imported; tests/truth says why.
    os.environ |= {"GRPC_ENABLE_FORK_SUPPORT": "false", "GRPC_VERBOSITY": "ERROR"}
    sys.exit(_run(parser.parse_args()))


def _run(given: argparse.Namespace) -> int:
    import uvloop

    from tests.chaos.stampede_run import mutant_run, whole_run

    began_at = time.monotonic()
    print(f"seed {given.seed}: {given.rounds} rounds of waves of {given.askers}")
    run = mutant_run if given.mutant else whole_run
    asked = {"rounds": given.rounds, "askers": given.askers, "seed": given.seed}
    report = uvloop.run(run(**asked, stale_seconds=given.stale_seconds, say=print))
    print("", report, f"It took {time.monotonic() - began_at:.0f} s.", sep="\n")
    return int(not report.holds)


if __name__ == "__main__":
    main()
