"""`python tether.py PARENT -- PROGRAM …`: becomes the program, which the kernel will kill when PARENT dies.

A supervisor that is killed cannot clean up, and a pipe that children watch needs children that watch: Valkey does not.
So the kernel is asked, by the child itself and before the program starts, which needs no code between fork and exec.
Run as a file with `python -I -S`: it imports nothing but the standard library.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; the setting survives exec


def tie_to(parent: int) -> None:
    """From now on the death of the parent kills this process. Exits at once when the parent is dead already."""
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit("tether: the kernel refused PR_SET_PDEATHSIG")
    if os.getppid() != parent:
        sys.exit("tether: the supervisor is gone")


if __name__ == "__main__":
    _, parent, _, *program = sys.argv
    tie_to(int(parent))
    os.execv(program[0], program)  # noqa: S606 - no shell is the point
