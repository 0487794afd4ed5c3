"""No process of vLLM outlives the service that started it."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import subprocess
import sys

import pytest

from services.inference.adapters.parent_death import die_with_parent

# Starts a child as vLLM starts its engine core; the child calls the plug-in and says who it is.
PARENT = """
import multiprocessing, os, signal, time
from services.inference.adapters.parent_death import die_with_parent

def live():
    die_with_parent()
    print(os.getpid(), flush=True)
    signal.pause()

multiprocessing.get_context("fork").Process(target=live).start()
signal.pause()
"""


@pytest.mark.processes
def test_a_child_is_killed_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        # The pipe ends with the last process that holds it.
        ended, _, _ = select.select([parent.stdout], [], [], 10)
        if not ended:
            os.kill(child, signal.SIGKILL)
        assert ended


def test_a_process_that_nobody_started_so_stays_as_it_is() -> None:
    assert multiprocessing.parent_process() is None
    die_with_parent()
