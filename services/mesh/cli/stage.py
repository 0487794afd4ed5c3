"""What the demo shows around its questions: headings, progress, receipts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

from libs.errors import Reason, TokenwayError
from libs.money import usd
from services.mesh.cli.ending import one_line
from services.mesh.cli.receipt import in_one_line
from services.mesh.state_directory import RunningMesh
from tokenway.router.v1.router_pb2 import Finished


class Stage:
    """Colours and a spinner on a terminal, plain lines elsewhere. A context manager: it ends the spinner."""

    def __init__(self) -> None:
        self.console = Console()
        self._began_at = time.monotonic()
        self._acts = 0
        self._spinner: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waits_no_more()

    def starts(self, what: str) -> None:
        """Says what is about to run."""
        self._say("Tokenway: router, cache, budget and inference, each a process, and an embedded Valkey.", "bold")
        self._say(f"The model is {what}.")
        self._waits("starting")

    def serves(self, name: str) -> None:
        """One more process is ready."""
        self._say(f"  {self._seconds()}  {name} serves", "dim")

    def has_started(self, mesh: RunningMesh) -> None:
        """All of them are."""
        self._waits_no_more()
        self._say(f"  {self._seconds()}  ready: the router listens on {mesh.router}", "dim")

    def act(self, title: str) -> None:
        """A heading."""
        self._acts += 1
        self._say("")
        self._say(f"{self._acts}. {title}", "bold")

    def asks(self, question: str) -> None:
        """A question."""
        self._say(f"> {question}", "cyan")

    def receipt(self, finished: Finished, note: str = "") -> None:
        """What the answer took, and cost."""
        self._say(in_one_line(finished, note=note), "dim")

    def refused(self, error: TokenwayError) -> None:
        """An error, which is what was wanted; and of a budget, what it says to programs."""
        self._say(one_line(error, now=datetime.now(UTC)), "red")
        if error.reason is Reason.BUDGET_EXCEEDED:
            self._say(" · ".join(_limit(error.metadata)), "dim")

    def stops(self) -> None:
        """Everything was shown."""
        self._say("")
        self._waits("stopping")

    def has_stopped(self) -> None:
        """The end."""
        self._waits_no_more()
        self._say(f"Everything stopped, {self._seconds().strip()} after the start.", "dim")
        # As it was called now: it need not be on the PATH.
        self._say(f'To keep a mesh running: {sys.argv[0]} up. To ask it: {sys.argv[0]} chat "Why is the sky blue?"')

    def _say(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)

    def _waits(self, what: str) -> None:
        if self.console.is_terminal:
            self._spinner = self.console.status(f"{what} …")
            self._spinner.start()

    def _waits_no_more(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._began_at:4.1f} s"


def _limit(said: Mapping[str, str]) -> Iterator[str]:
    """What the details of the status hold for programs."""
    yield f"scope {said['scope']} {said['subject']}".rstrip()
    yield f"window {said['window']}"
    yield from (f"{name} {usd(int(said[name]))}" for name in ("limit", "used", "reserved"))
