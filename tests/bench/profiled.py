"""A service under cProfile, from SIGUSR1 to SIGUSR2, which writes what was seen: start-up is not in it.

python -m tests.bench.profiled FILE MODULE [ARGUMENT ...]
"""

from __future__ import annotations

import cProfile
import runpy
import signal
import sys
import time


def main() -> None:
    file, module, *arguments = sys.argv[1:]
    # In CPU time of the main thread: what others do on this machine is not in it, nor are gRPC's own threads.
    profile = cProfile.Profile(time.thread_time)

    def end(*_: object) -> None:
        profile.disable()
        profile.dump_stats(file)

    signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
    signal.signal(signal.SIGUSR2, end)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
