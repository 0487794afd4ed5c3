"""`tokenway chat`: one question, its answer as it comes, its receipt."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from libs.errors import TokenwayError
from services.mesh.cli.answer import Answer, JsonAnswer, TextAnswer, print_json, receipt_beside_text, shown
from services.mesh.cli.ending import exit_code
from services.mesh.cli.place import router_address, router_options
from services.mesh.cli.question import Question, question_options
from services.mesh.client.router import RouterAddress, connected
from services.mesh.state_directory import StateDirectory
from tokenway.client.errors import request_id_of


@click.command()
@question_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: started, delta …, finished.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for the whole answer.")
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
    """Ask a question; the answer streams.

    PROMPT `-`, or something piped in, is read from standard input.
    """
    address = router_address(state, router=router, ca_file=ca_file, key_file=key_file)
    answer = JsonAnswer() if as_json else TextAnswer(show_receipt=receipt_beside_text)
    try:
        asyncio.run(_chat(address, Question(**question), answer, timeout_seconds=timeout, state=state))
    except TokenwayError as error:
        if request_id := request_id_of(error):
            state.remember_request(request_id)
        if as_json:
            print_json({"error": _fields(error, request_id)})
        raise


async def _chat(
    address: RouterAddress, question: Question, answer: Answer, *, timeout_seconds: float | None, state: StateDirectory
) -> None:
    async with (
        connected(address) as router,
        router.stream_generate(question.message(), timeout_seconds=timeout_seconds) as stream,
    ):
        finished = await shown(stream, answer)
    state.remember_request(finished.receipt.request_id)


def _fields(error: TokenwayError, request_id: str | None) -> dict[str, Any]:
    return {
        "reason": error.reason,
        "message": error.message,
        "metadata": dict(error.metadata),
        "fields": {each.field: each.description for each in error.fields},
        "quotas": {each.subject: each.description for each in error.quotas},
        "retry_after_seconds": error.retry_after_seconds,
        "request_id": request_id,
        "exit_code": exit_code(error),
    }
