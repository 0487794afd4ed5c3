"""`tokenway chat`: one question, its answer as it comes, its receipt."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import click

from libs.errors import Reason, TokenwayError
from libs.money import usd
from services.mesh.cli.answer import Answer, JsonAnswer, TextAnswer, receipt_beside_text, shown
from services.mesh.cli.ending import request_id
from services.mesh.cli.json_output import json_option
from services.mesh.cli.number import MOST_SECONDS, Number
from services.mesh.cli.page import Page
from services.mesh.cli.place import router_address, router_options
from services.mesh.cli.question import Question, question_options
from services.mesh.client.router import RouterAddress, connected
from services.mesh.state_directory import StateDirectory
from tokenway.client import Stream
from tokenway.router.v1.router_pb2 import StreamGenerateResponse

_MONEY = re.compile(r"( money/\w+ )(\d+)/(\d+)")


@click.command(
    cls=Page,
    examples=(
        ('tokenway chat "Why is the sky blue?"', "the answer as it comes; below it what it cost"),
        ("git diff | tokenway chat --system 'Review this.' -", "a question from a pipe; the receipt on standard error"),
        ("tokenway chat --json '…' | jq -r '.delta.text[]?'", "events for programs: started, delta …, finished"),
    ),
)
@question_options
@json_option("One JSON object a line: started, delta …, finished.")
@click.option(
    "--timeout",
    type=Number(float, least=0, above=True, most=MOST_SECONDS),
    metavar="SECONDS",
    help="For the whole answer [the router's, 120].",
)
@router_options
def chat(
    *,
    state: StateDirectory,
    router: str | None,
    ca_file: Path | None,
    key_file: Path | None,
    as_json: bool,
    timeout: float | None,
    **question: Any,
) -> None:
    """Ask a question; the answer streams. Without --model the mesh takes the cheapest that qualifies."""
    address = router_address(state, router=router, ca_file=ca_file, key_file=key_file)
    asked = Question(**question)
    text = TextAnswer(show_receipt=receipt_beside_text, why_bypassed=asked.why_bypassed)
    answer = Remembered(JsonAnswer() if as_json else text, state)
    try:
        asyncio.run(_chat(address, asked, answer, timeout_seconds=timeout))
    except TokenwayError as error:
        if refused := request_id(error):
            state.remember_request(refused)
        raise
    except KeyboardInterrupt:
        if not answer.request_id:
            raise
        message = f"interrupted; what came before of request {answer.request_id} is billed"
        raise TokenwayError(Reason.CANCELLED, message, {"request_id": answer.request_id}) from None


class Remembered:
    """Another answer, whose request is known from its first event on: however it ends, `last` means this one."""

    def __init__(self, shown: Answer, state: StateDirectory) -> None:
        self.request_id = ""
        self._shown = shown
        self._state = state

    def show(self, event: StreamGenerateResponse) -> None:
        if event.HasField("started"):
            self.request_id = event.started.request_id
            self._state.remember_request(self.request_id)
        self._shown.show(event)

    def end(self) -> None:
        self._shown.end()


async def _chat(address: RouterAddress, question: Question, answer: Answer, *, timeout_seconds: float | None) -> None:
    async with (
        connected(address) as router,
        Stream(router.stream_generate(question.message(), timeout_seconds=timeout_seconds)) as stream,
    ):
        await shown(stream, answer)
    if stream.soft_limits:
        click.echo(f"warning: soft limits are passed: {_in_dollars(stream.soft_limits)}", err=True)


def _in_dollars(limits: str) -> str:
    """`key:ci money/day 2500000/1000000`: micro-dollars, as a trailer has them."""
    return _MONEY.sub(lambda found: f"{found[1]}{usd(int(found[2]))} of {usd(int(found[3]))}", limits)
