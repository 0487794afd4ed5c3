"""Threads that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class AbandonableThreads(ThreadPoolExecutor):
    """A daemon thread for each call.

    The threads of a usual executor hold the process until they are done, and a name server or a file system that does
    not answer holds them for minutes.
    """

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        threading.Thread(target=_fulfil, args=(future, call, arguments, named), daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits for nobody."""


def _fulfil(future: Future[Any], call: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call(*arguments, **named)
    except BaseException as error:  # it is the waiting side's
        future.set_exception(error)
    else:
        future.set_result(result)
