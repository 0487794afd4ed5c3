"""Money for ten, and two hundred at once: python -m tests.chaos.probe.

What other gateways were asked too. A row an organisation, whose one key has money for exactly ten answers; exit code 0
if in every row nobody got more than there was, and nobody who was let in was cut short.
"""

from __future__ import annotations

import argparse
import os
import sys


def main() -> None:
    argparse.ArgumentParser(prog="python -m tests.chaos.probe", description=__doc__).parse_args()
    # Read when gRPC is imported; tests/truth says why.
    os.environ |= {"GRPC_ENABLE_FORK_SUPPORT": "false", "GRPC_VERBOSITY": "ERROR"}
    sys.exit(_run())


def _run() -> str | int:
    import uvloop

    from tests.chaos.row import ROWS
    from tests.chaos.ten import ten
    from tests.chaos.told import table

    results = uvloop.run(ten(ROWS))
    print(table(results))
    return "\n".join(f"{row.name}: {fault}" for row, each in results for fault in each.faults(row)) or 0


if __name__ == "__main__":
    main()
