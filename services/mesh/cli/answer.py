"""A streamed answer as it is shown: text for people, or one JSON object a line for programs."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from typing import Protocol

import click
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.text import Text

from services.mesh.cli.json_output import print_json
from services.mesh.cli.receipt import in_one_line
from tokenway.client import Stream
from tokenway.router.v1.router_pb2 import CACHE_VERDICT_BYPASSED, Finished, StreamGenerateResponse


class Answer(Protocol):
    """Shows the events of one answer, in order, at once; then that no more come, however it ended."""

    def show(self, event: StreamGenerateResponse) -> None: ...

    def end(self) -> None: ...


class TextAnswer:
    """The text as it comes, then the receipt."""

    def __init__(self, *, show_receipt: Callable[[Finished, str], None], why_bypassed: str = "") -> None:
        """`show_receipt` gets `why_bypassed` with the receipt of an answer for which the cache was not asked."""
        self._show_receipt = show_receipt
        self._why_bypassed = why_bypassed
        self._note = ""
        self._is_terminal = sys.stdout.isatty()
        self._ends_with_newline = True

    def show(self, event: StreamGenerateResponse) -> None:
        if event.started.cache_verdict == CACHE_VERDICT_BYPASSED:
            self._note = self._why_bypassed
        if text := "".join(event.delta.text):
            sys.stdout.write(without_controls(text) if self._is_terminal else text)
            sys.stdout.flush()
            self._ends_with_newline = text.endswith("\n")
        if event.HasField("finished"):
            self.end()
            self._show_receipt(event.finished, self._note)

    def end(self) -> None:
        """Ends the line: what comes below is not the model's."""
        if not self._ends_with_newline:
            click.echo()
            self._ends_with_newline = True


class JsonAnswer:
    """Each event as proto's JSON: `started`, `delta` any number of times, `finished` with the receipt."""

    def show(self, event: StreamGenerateResponse) -> None:
        # In the last event 0 dollars must be seen; in a delta absent lists are only noise.
        fields = MessageToDict(
            event, preserving_proto_field_name=True, always_print_fields_with_no_presence=event.HasField("finished")
        )
        print_json(fields)

    def end(self) -> None: ...


def receipt_beside_text(finished: Finished, note: str) -> None:
    """Below the text on a terminal; on standard error where the text is piped on."""
    line = in_one_line(finished, note=note)
    if sys.stdout.isatty():
        Console().print(Text(line, style="dim"))
    else:
        click.echo(line, err=True)


async def shown(stream: Stream, answer: Answer) -> Finished:
    """Shows the whole stream and returns its last event. STREAM_BROKEN when there is none."""
    try:
        while (event := await stream.event()) is not None:
            answer.show(event)
    finally:
        answer.end()
    return stream.answer.message.finished


def without_controls(text: str) -> str:
    """The text without characters that command a terminal: a model may be made to say anything."""
    return "".join(each for each in text if each in "\n\t" or unicodedata.category(each) != "Cc")
