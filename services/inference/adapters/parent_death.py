"""No engine core outlives its service: vLLM leaves one behind when the process that started it is killed.

A plugin of vLLM (entry point `vllm.general_plugins`), because nothing else of ours runs in vLLM's own processes.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """In a process that multiprocessing started: the kernel kills it once its parent is gone. Elsewhere nothing."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:  # it went while this one was starting
        os._exit(1)
