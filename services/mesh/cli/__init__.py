"""`tokenway`: starts the mesh on this machine, and talks to any."""

import os
import sys


def main() -> None:
    """Runs one command and exits: no failure that is foreseen ends in a traceback."""
    # gRPC's own log lines, of peers that hang up for example, are not for whoever reads a terminal. It reads this once,
    # when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        from services.mesh.cli.app import run  # noqa: PLC0415 - see above

        code = run()
    except ImportError as error:
        from services.mesh.cli import incomplete  # noqa: PLC0415 - only now

        code = incomplete.told(error, sys.argv[1:])
    except KeyboardInterrupt:  # while something was still being imported
        sys.stderr.write("\ninterrupted\n")
        code = 130
    sys.exit(code)
