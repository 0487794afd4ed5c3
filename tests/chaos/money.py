"""Whether money can be overspent: python -m tests.chaos.money [--streams 4000] [--seconds 120] [--seed N].

Replicas and routers killed, Redis frozen, clients that leave; what was spent is counted by what engines and clients
wrote into files of their own. Exit code 0 if nothing was overspent, lost or left reserved.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.money", description=__doc__)
    parser.add_argument("--streams", type=int, default=4_000, help="at once (default 4000)")
    parser.add_argument("--seconds", type=float, default=120, help="of load (default 120)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of what is drawn by lot")
    parser.add_argument("--short", action="store_true", help="the form that the tests run")
    parser.add_argument("--mutant", action="store_true", help="without the check of limits: has to be an overspend")
    # Read when gRPC is imported; tests/truth says why.
    os.environ |= {"GRPC_ENABLE_FORK_SUPPORT": "false", "GRPC_VERBOSITY": "ERROR"}
    sys.exit(_run(parser.parse_args()))


def _run(given: argparse.Namespace) -> int:
    import uvloop

    from tests.chaos.report import Report
    from tests.chaos.run import chaos, long, short

    form = short(given.seed) if given.short else long(given.streams, given.seconds, given.seed)
    began_at = time.monotonic()
    print(f"seed {given.seed}: {form.streams:,} streams at once for {form.seconds:g} s")
    verdict = uvloop.run(chaos(form, checked=not given.mutant, say=print))
    print("", Report(verdict), f"It took {time.monotonic() - began_at:.0f} s.", sep="\n")
    return int(not verdict.holds)


if __name__ == "__main__":
    main()
