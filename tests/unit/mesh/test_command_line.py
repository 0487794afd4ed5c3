"""The parts of the command line that need no mesh."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest
from click.testing import CliRunner
from google.protobuf.duration_pb2 import Duration

from libs.errors import FieldViolation, QuotaViolation, Reason, TokenwayError
from libs.money import usd
from services.mesh.cli.answer import without_controls
from services.mesh.cli.app import tokenway
from services.mesh.cli.ending import EXIT_CODES, exit_code, one_line
from services.mesh.cli.question import Question, question_options
from services.mesh.cli.receipt import in_one_line
from services.mesh.cli.table import print_table
from tokenway.common.v1 import generation_pb2
from tokenway.common.v1.money_pb2 import CACHE_KIND_SEMANTIC, CachedFrom, Receipt, Usage
from tokenway.router.v1.router_pb2 import CacheControl, Finished

NOW = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("micro_usd", "text"),
    [(0, "$0"), (1, "$0.000001"), (8, "$0.000008"), (10_000, "$0.01"), (200_000, "$0.20"), (1_250_000, "$1.25")],
)
def test_money_is_never_rounded(micro_usd: int, text: str) -> None:
    assert usd(micro_usd) == text
    assert usd(12_345_000_000) == "$12,345.00"


def test_an_error_says_what_its_message_leaves_out() -> None:
    error = TokenwayError(
        Reason.BUDGET_EXCEEDED,
        "the budget is exceeded:\n9 of 10 are spent",
        retry_after_seconds=3_600,
        quotas=(QuotaViolation("key:ci", "the hour's"),),
        fields=(FieldViolation("prompt", "9 of 10 are spent"),),
    )
    assert one_line(error, now=NOW) == (
        "BUDGET_EXCEEDED: the budget is exceeded: 9 of 10 are spent; key:ci: the hour's; "
        "again in 1.0 h, at 2026-11-23 00:00:00 UTC"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (600, "10 min"), (7_200, "2.0 h"), (864_000, "10.0 days")]
)
def test_when_again_is_said_in_a_unit_that_people_use(seconds: float, text: str) -> None:
    error = TokenwayError(Reason.QUEUE_FULL, "full", retry_after_seconds=seconds)
    assert f"again in {text}, " in one_line(error, now=NOW)


def test_every_reason_has_its_exit_code() -> None:
    without = set(Reason) - set(EXIT_CODES)
    assert without == {Reason.INTERNAL, Reason.RESERVATION_NOT_FOUND, Reason.RESERVATION_CLOSED}
    assert exit_code(TokenwayError(Reason.INTERNAL, "")) == 1


def test_a_receipt_is_one_line() -> None:
    receipt = Receipt(
        request_id="r",
        model="small",
        why="cheapest of 2 that qualify",
        usage=Usage(input_tokens=31, output_tokens=8),
        cost_micro_usd=8,
        time_to_first_token=Duration(nanos=65_000_000),
        duration=Duration(seconds=12, nanos=300_000_000),
        attempts=2,
    )
    assert in_one_line(Finished(finish_reason=generation_pb2.FINISH_REASON_LENGTH, receipt=receipt)) == (
        "cut at the most tokens · small · 31 + 8 tokens · $0.000008 · first token 65 ms · all 12.3 s · 2 attempts · "
        "cheapest of 2 that qualify · request r"
    )


def test_a_cached_answer_says_so_first() -> None:
    receipt = Receipt(request_id="r", model="small", cached=CachedFrom(age=Duration(seconds=12)))
    line = in_one_line(Finished(finish_reason=generation_pb2.FINISH_REASON_STOP, receipt=receipt))
    assert line == "from the cache, 12 s old · small · no tokens made · $0 · request r"


def test_one_that_answered_another_question_says_how_near_that_was() -> None:
    origin = CachedFrom(age=Duration(seconds=12), kind=CACHE_KIND_SEMANTIC, similarity=0.9731)
    line = in_one_line(Finished(receipt=Receipt(request_id="r", model="small", cached=origin)))
    assert line.startswith("from the cache, 12 s old, asked in other words (cosine 0.973) · small")


def test_a_model_cannot_command_the_terminal() -> None:
    assert without_controls("a\x1b[31mb\nc\td\x9be\x07") == "a[31mb\nc\tdé".replace("é", "e")


def test_a_question_says_only_what_was_given() -> None:
    message = Question(prompt="hi").message()
    assert not message.sampling.HasField("max_tokens")
    assert message.sampling.temperature == 0.0
    assert message.sampling.HasField("temperature")
    assert not message.HasField("cache")
    assert not message.requirements.HasField("max_latency")
    assert [each.role for each in message.conversation.messages] == [generation_pb2.ROLE_USER]


def test_a_question_carries_all_that_was_given() -> None:
    message = Question(
        prompt="hi", system="be brief", no_cache=True, max_latency=0.25, max_cost=0.0002, min_context=8_192
    ).message()
    assert [each.role for each in message.conversation.messages] == [
        generation_pb2.ROLE_SYSTEM,
        generation_pb2.ROLE_USER,
    ]
    assert message.cache.mode == CacheControl.MODE_OFF
    assert message.requirements.max_latency.ToMilliseconds() == 250
    assert message.requirements.max_cost_micro_usd_per_1k_tokens == 200
    assert message.requirements.required_context_tokens == 8_192


@pytest.mark.parametrize(("given", "asked"), [(["hi"], "hi"), (["-"], "piped"), ([], "piped")])
def test_the_prompt_is_the_argument_or_what_is_piped_in(given: list[str], asked: str) -> None:
    @click.command()
    @question_options
    def ask(*, prompt: str, **rest: object) -> None:
        click.echo(prompt)

    assert CliRunner().invoke(ask, given, input="piped").output == f"{asked}\n"


@pytest.mark.parametrize(
    ("option", "value", "range_"),
    [
        ("--max-tokens", "99999999999", "a whole number of at least 1 and at most 4,294,967,295"),
        ("--min-context", "9" * 5_000, "a whole number of at least 1 and at most 4,294,967,295"),
        *(("--max-cost", each, "a number of at least 0 and at most 1,000,000,000") for each in ("nan", "inf", "1e30")),
        *(("--max-latency", each, "a number above 0 and at most 86,400") for each in ("nan", "inf", "1e30", "0")),
        *(("--timeout", each, "a number above 0 and at most 86,400") for each in ("nan", "inf", "1e30", "soon")),
    ],
)
def test_a_number_that_cannot_be_sent_is_refused_with_its_limits(option: str, value: str, range_: str) -> None:
    done = CliRunner().invoke(tokenway, ["chat", option, value, "hi"])
    assert done.exit_code == 2
    assert f"{value[:40]!r}: give {range_}" in done.output


def test_what_is_no_text_is_refused_before_anything_is_sent() -> None:
    done = CliRunner().invoke(tokenway, ["chat", "--system", "b\udcffh", "hi"])
    assert done.exit_code == 2
    assert r'the argument "b\xffh" is not UTF-8 text: give it as UTF-8' in done.output
    piped = CliRunner().invoke(tokenway, ["chat", "-"], input=b"na\xefve")
    assert piped.exit_code == 2
    assert "standard input is not UTF-8 text: its byte 2 is 0xef; `… | iconv -c -t UTF-8 | tokenway …`" in piped.output


def test_a_table_in_a_pipe_has_one_row_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    print_table(("model", "why"), [("a", "x" * 200), ("long", "[b]y[/b]")], console=Console(width=40))
    assert capsys.readouterr().out == f"model  why\na      {'x' * 200}\nlong   [b]y[/b]\n"


def test_a_table_on_a_terminal_cuts_nothing_off(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    path = "/a/path/that/is/much/longer/than/forty/characters/are"
    print_table(("model", "where"), [("a", path)], console=Console(width=40, force_terminal=True, color_system=None))
    assert "".join(capsys.readouterr().out.split()).endswith(path[-30:])
