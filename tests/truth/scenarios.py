"""What a caller does to bring each ending about. The numbers in a prompt are directives to the scripted engine."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.mesh.in_process import question
from tests.truth.caller import Caller
from tests.truth.endings import CROWDED, FINISHED, LEFT_BETWEEN_DELTAS
from tests.truth.seen import Asked, Seen
from tokenway.router.v1 import router_pb2

POOR_KEY = "tw_key-of-an-organisation-without-money"
# What the guards of this mesh block, in answers and in questions.
UNSPEAKABLE, UNASKABLE = "abracadabra", "hocuspocus"
_NUMBERS = itertools.count()
_LONG, _FOR_EVER = "[[tokens=400]] [[pace=100]]", "[[tokens=4000]] [[pace=50]]"
_NO_TOKEN = "[[fault:first_token=60]]"


@dataclass(frozen=True, slots=True)
class Stage:
    """Who asks: a caller of a router in use, and one of a router that takes one request at a time."""

    caller: Caller
    narrow: Caller
    # That one request is ours.
    narrow_lock: asyncio.Lock
    random: random.Random = field(repr=False)


Scenario = Callable[[Stage, str], Awaitable[Any]]


def asked(text: str, *, max_tokens: int = 64, fields: Mapping[str, Any] | None = None, **how: Any) -> Asked:
    """A question that nobody has asked before."""
    request = question(f"{text} number {next(_NUMBERS)}", max_tokens=max_tokens, **(fields or {}))
    return Asked(request, **how)


def _plain(text: str, **given: Any) -> Scenario:
    return lambda stage, ending: stage.caller.ask(ending, asked(text, **given))


def _soon(text: str, name: str, from_seconds: float, to_seconds: float) -> Scenario:
    """Some time or other, which is drawn for each request."""

    def play(stage: Stage, ending: str) -> Awaitable[Seen]:
        drawn: dict[str, Any] = {name: stage.random.uniform(from_seconds, to_seconds)}
        return stage.caller.ask(ending, asked(text, **drawn))

    return play


async def _twice(stage: Stage, ending: str) -> None:
    """The same question again, if the first one was answered and stored."""
    first = asked("the same")
    seen = await stage.caller.ask(FINISHED, first)
    if seen.code == "OK":
        await stage.caller.ask(ending, first, maker=seen.trace_id)


async def _crowded(stage: Stage, ending: str) -> None:
    """A second request while a first one is inside."""
    inside, refused = asyncio.Event(), asyncio.Event()

    def held(seen: Seen) -> bool:
        if seen.deltas:
            inside.set()
        return refused.is_set()

    # On the model whose engine is never killed.
    long = asked(_FOR_EVER, max_tokens=4_000, fields={"model": "large"}, leave_once=held)
    async with stage.narrow_lock, asyncio.TaskGroup() as tasks:
        holding = tasks.create_task(stage.narrow.ask(LEFT_BETWEEN_DELTAS, long))
        # It ends at once where the router has not noticed yet that the one before it has gone.
        holding.add_done_callback(lambda _: inside.set())
        await inside.wait()
        if not holding.done():
            await stage.narrow.ask(ending, asked("one too many"))
            refused.set()


def endless(leave_once: Callable[[Seen], bool]) -> Asked:
    """An answer that its caller leaves at a delta, or that somebody kills."""
    return asked(_FOR_EVER, max_tokens=4_000, leave_once=leave_once)


SCENARIOS: Mapping[str, Scenario] = {
    FINISHED: _plain("hello"),
    "finished: cut by max_tokens": _plain("[[tokens=64]]", max_tokens=6),
    "finished: cut by the guard": _plain(f"[[echo=one two {UNSPEAKABLE} four five six]] [[pace=50]]"),
    "finished: extended its lease": _plain("[[tokens=60]] [[pace=200]]"),
    "finished: from the cache": _twice,
    "finished: after retries": _plain("[[fault:overloaded=0.05]] [[fault_attempts=2]]"),
    "finished: by a fallback": _plain("[[fault:unavailable]] [[fault_attempts=2]]"),
    "cancelled: on the way in": _soon("hello", "leave_after_seconds", 0, 0.006),
    "cancelled: while looking up": _plain("[[pace=20]]", leave_once=lambda seen: bool(seen.request_id)),
    "cancelled: between attempts": _plain("[[fault:overloaded=30]]", leave_after_seconds=0.8),
    "cancelled: before the first token": _plain(_NO_TOKEN, leave_after_seconds=0.8),
    LEFT_BETWEEN_DELTAS: _plain(_LONG, max_tokens=400, leave_once=lambda seen: seen.deltas >= 4),
    "cancelled: with the last message": _plain("hello", leave_once=lambda seen: seen.finished is not None),
    "deadline: on the way in": _soon("hello", "deadline_seconds", 0.001, 0.03),
    "deadline: before the first token": _plain(_NO_TOKEN, deadline_seconds=0.8),
    "deadline: between deltas": _plain(_LONG, max_tokens=400, deadline_seconds=1.2),
    "deadline: near the last message": _soon("[[tokens=40]] [[pace=100]]", "deadline_seconds", 0.38, 0.5),
    "refused: bad request": _plain("hello", fields={"temperature": 3}),
    "refused: unknown key": _plain("hello", key="tw_key-of-nobody"),
    "refused: content": _plain(f"what is {UNASKABLE}"),
    "refused: budget": _plain("hello", key=POOR_KEY),
    "refused: capability": _plain("hello", fields={"requirements": router_pb2.Requirements(task_type="divination")}),
    CROWDED: _crowded,
    "failed: every candidate": _plain("[[fault:unavailable]]"),
    "broken: the engine says so": _plain("[[tokens=50]] [[fault:cut_after=10]]"),
    "broken: without a last message": _plain("[[tokens=50]] [[fault:no_finish_after=10]]"),
}
