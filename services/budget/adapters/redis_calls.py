"""Calls of scripts: those of one tick of the event loop go to a server in one write, and come back in one read."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from types import TracebackType
from typing import Any, Self

from redis import exceptions
from redis.asyncio.cluster import ClusterNode

from libs.redis_client import RedisClient

# While so many writes to a server are on their way, what comes waits, and goes in one.
_WRITES_AT_ONCE = 8
# Nothing is known of a call that ended so: it is made again, alone, as it would be without others. The server has
# forgotten the script, is away, or is no longer the one.
_UNANSWERED = (
    exceptions.NoScriptError,
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.AskError,  # MOVED is one
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
)


@dataclass(frozen=True, slots=True)
class Script:
    """Lua, by its text."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        # A name, not a promise: it is how Redis calls it.
        object.__setattr__(self, "sha", sha1(self.text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class _Call:
    command: tuple[Any, ...]
    # An error is an answer too.
    answer: asyncio.Future[Any]


class RedisCalls:
    """Loads scripts where they are not known, and calls one again where nobody knows whether it ran: it must bear that.

    `timeout_seconds` bounds a write whose callers have all left; leaving the `async with` block waits for those.
    """

    def __init__(self, redis: RedisClient, *, timeout_seconds: float) -> None:
        self._redis: Any = redis  # neither client's commands have types
        self._timeout_seconds = timeout_seconds
        self._waiting: dict[ClusterNode | None, list[_Call]] = {}
        self._room: defaultdict[ClusterNode | None, asyncio.Semaphore]
        self._room = defaultdict(lambda: asyncio.Semaphore(_WRITES_AT_ONCE))
        self._writing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.gather(*self._writing)

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """What the script answers; its keys share a slot. How long that may take is the caller's to say."""
        operands = (len(keys), *keys, *args)
        answer = await self._with_others(("EVALSHA", script.sha, *operands), key=keys[0])
        if isinstance(answer, _UNANSWERED):
            return await self._alone(script, operands)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _alone(self, script: Script, operands: tuple[Any, ...]) -> Any:
        try:
            return await self._redis.execute_command("EVALSHA", script.sha, *operands)
        except exceptions.NoScriptError:
            return await self._redis.execute_command("EVAL", script.text, *operands)

    def _with_others(self, command: tuple[Any, ...], *, key: str) -> asyncio.Future[Any]:
        node, loop = self._redis.node_of(key), asyncio.get_running_loop()
        call = _Call(command, loop.create_future())
        if (waiting := self._waiting.get(node)) is not None:
            waiting.append(call)
        else:
            self._waiting[node] = [call]
            task = loop.create_task(self._write(node))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        return call.answer

    async def _write(self, node: ClusterNode | None) -> None:
        """It begins in the next tick: until then, and until there is room, calls may join."""
        async with self._room[node]:
            # Whoever has left meanwhile is not written for; whoever leaves from now on takes the answer with them.
            calls = [each for each in self._waiting.pop(node) if not each.answer.done()]
            for call, answer in zip(calls, await self._answers(node, calls), strict=True):
                if not call.answer.done():
                    call.answer.set_result(answer)

    async def _answers(self, node: ClusterNode | None, calls: Sequence[_Call]) -> list[Any]:
        try:
            # By then all callers have left.
            async with asyncio.timeout(self._timeout_seconds):
                return list(await self._redis.together(node, [each.command for each in calls]))
        except Exception as error:  # whatever it is, each of them has to hear of it
            return [error] * len(calls)
