"""Options that make up a question, and the message that they come to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from google.protobuf.duration_pb2 import Duration

from services.mesh.cli.mesh_candidates import model_names
from services.mesh.cli.number import MOST_SECONDS, MOST_TOKENS, MOST_USD, Number
from tokenway.common.v1 import generation_pb2
from tokenway.common.v1.generation_pb2 import Conversation, Message, Part, Sampling
from tokenway.router.v1.router_pb2 import CacheControl, GenerateRequest, Requirements

Command = TypeVar("Command", bound=Callable[..., Any])
MICRO_USD_PER_USD = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the command line asks. Temperature 0 by default: such answers may come from the cache."""

    prompt: str
    system: str | None = None
    model: str = ""
    max_tokens: int | None = None
    temperature: float = 0.0
    no_cache: bool = False
    task: str = ""
    max_latency: float | None = None
    max_cost: float | None = None
    min_context: int | None = None

    @property
    def why_bypassed(self) -> str:
        """Why the cache was not asked, if it was not."""
        return "not cached: temperature above 0" if self.temperature > 0 and not self.no_cache else ""

    def message(self) -> GenerateRequest:
        """The request. What was not given stays absent, so that the mesh's defaults hold."""
        said = [(generation_pb2.ROLE_SYSTEM, self.system)] if self.system else []
        said.append((generation_pb2.ROLE_USER, self.prompt))
        return GenerateRequest(
            model=self.model,
            conversation=Conversation(messages=[Message(role=role, parts=[Part(text=text)]) for role, text in said]),
            sampling=Sampling(temperature=self.temperature, max_tokens=self.max_tokens),
            requirements=self._requirements(),
            cache=CacheControl(mode=CacheControl.MODE_OFF) if self.no_cache else None,
        )

    def _requirements(self) -> Requirements:
        return Requirements(
            task_type=self.task,
            max_latency=_duration(self.max_latency),
            max_cost_micro_usd_per_1k_tokens=None
            if self.max_cost is None
            else round(self.max_cost * MICRO_USD_PER_USD),
            required_context_tokens=self.min_context,
        )


def question_options(command: Command) -> Command:
    """Adds the prompt and what may be said of it; the command gets the fields of a Question by name."""
    for option in (
        click.option(
            "--min-context",
            type=Number(int, least=1, most=MOST_TOKENS),
            metavar="TOKENS",
            help="The least context window that the model must have [any].",
        ),
        click.option(
            "--max-cost",
            type=Number(float, least=0, most=MOST_USD),
            metavar="USD",
            help="The most per 1,000 tokens, in US dollars [any].",
        ),
        click.option(
            "--max-latency",
            type=Number(float, least=0, above=True, most=MOST_SECONDS),
            metavar="SECONDS",
            help="The model's 99th percentile of a whole answer must not be more [any].",
        ),
        click.option("--task", default="", metavar="NAME", help="A capability that the model must have [any]."),
        click.option("--no-cache", is_flag=True, help="Neither take an answer from the cache nor keep this one."),
        click.option("--temperature", type=float, default=0.0, show_default=True, help="0 to 2; 0 may be cached."),
        click.option(
            "--max-tokens",
            type=Number(int, least=1, most=MOST_TOKENS),
            metavar="TOKENS",
            help="The longest answer [512].",
        ),
        click.option("--system", metavar="TEXT", help="Instructions before the question [none]."),
        click.option(
            "-m",
            "--model",
            default="",
            metavar="NAME",
            shell_complete=model_names,
            help="The model [the mesh chooses].",
        ),
        click.argument(
            "prompt",
            callback=_prompt,
            required=False,
            help="The question; `-`, or none with something piped in: it is read from standard input.",
        ),
    ):
        command = option(command)
    return command


def _prompt(context: click.Context, parameter: click.Parameter, given: str | None) -> str:
    """The argument; `-`, or none with something piped in, reads standard input."""
    # A shell that completes a line has no question yet, and standard input is not ours.
    if given not in (None, "-") or context.resilient_parsing:
        return str(given)
    if given is None and sys.stdin.isatty():
        raise click.UsageError("a question is missing: give it as an argument, or `-` to read it")
    try:
        # Not as the locale has it: under some, bytes that are no text would pass here, and fail when they are sent.
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(
            f"standard input is not UTF-8 text: its byte {error.start:,} is 0x{error.object[error.start]:02x};"
            " `… | iconv -c -t UTF-8 | tokenway …` leaves such bytes out"
        ) from None


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
