"""`tokenway`: starts the mesh on this machine, and talks to any."""

import os
import sys


def main() -> None:
    """Runs one command and exits: no failure that is foreseen ends in a traceback."""
    # gRPC's own log lines, of peers that hang up for example, are not for whoever reads a terminal. It reads this once,
    # when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from services.mesh.cli.app import run  # noqa: PLC0415 - see above

    sys.exit(run())
