"""Keeps an answer for the cache while it streams, where it may be kept at all; and sends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

from libs.background import Background
from libs.money import Usage
from services.router.domain.answer import Delta, FinishReason
from services.router.domain.ask import CacheMode
from services.router.domain.catalogue import Model
from services.router.domain.ports import AnswerEnd, AnswerFailed, Cache, CacheQuestion

# The modes in which a request takes an answer from the cache.
READING = frozenset({CacheMode.POLICY, CacheMode.READ_ONLY})
# The question's own ends: whoever asks the same has the same. Any other is the request's that led.
_SHARED = frozenset({FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS})
Coming = AsyncGenerator[list[Delta] | AnswerEnd | AnswerFailed]


class Storing:
    """Collects deltas up to a cap. A whole answer goes to the cache in the background; that of a leader with followers
    goes as it comes, from its beginning.
    """

    def __init__(self, *, cache: Cache, background: Background, question: CacheQuestion, max_tokens: int) -> None:
        self._cache, self._background, self._question = cache, background, question
        self._room = max_tokens
        self._deltas: list[Delta] = []
        self._end: AnswerEnd | AnswerFailed | None = None
        self._news = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None
        self._parting: asyncio.Task[None] | None = None
        self._request_id = self._lead_token = ""
        # Of the look-up before the answer was generated.
        self.as_of = 0
        self._begun = False
        # Set once somebody follows.
        self.followed = asyncio.Event()
        mode, enabled = question.ask.cache_mode, question.policy.enabled
        self.reads = enabled and mode in READING
        self.writes = enabled and mode in {CacheMode.POLICY, CacheMode.REFRESH}
        # An answer that outgrows the cap could not be told to those who come late.
        fits = question.ask.max_output_tokens <= max_tokens
        self.single_flight = self.reads and self.writes and question.policy.single_flight and fits

    @property
    def leads(self) -> bool:
        """Whether it is still made for all who ask the same."""
        return bool(self._lead_token)

    @property
    def ending(self) -> asyncio.Task[None] | None:
        """What is telling the cache how the answer has ended, for whoever follows it as well."""
        telling = self._parting or (self._filling if self._end is not None else None)
        return None if telling is None or telling.done() else telling

    def lead(self, token: str, *, request_id: str) -> None:
        """The answer is made for all who ask the same."""
        self._lead_token, self._request_id = token, request_id

    def share(self) -> None:
        """Somebody follows."""
        self.followed.set()
        self._share()

    def begin(self, model: Model) -> None:
        """The answer begins, and is this model's: where the question was another's, it is not what others ask for.

        They go on alone: one after the other they would find out that the model which they ask for does not answer.
        """
        self._begun = True
        if model.name != self._question.model.name:
            if self._is_followed:
                self._parting = self._sent(_failure(), live=False)
            self._lead_token = ""
            self._question = replace(self._question, model=model)
        self._share()

    def add(self, delta: Delta) -> None:
        """One more; an answer that grows past the cap is dropped and not stored."""
        if not self.writes:
            return
        self._room -= delta.tokens
        if self._room < 0:
            self.close()
        else:
            self._deltas.append(delta)
            self._news.set()

    def close(self) -> None:
        """Nothing more comes, and what has come is no answer; nothing where it had ended. What is sent breaks off."""
        if self._end is None:
            self.writes = False
            self._deltas.clear()
        self._news.set()

    def fail(self) -> asyncio.Task[None] | None:
        """What is asked fails for whoever asks it: sends those who follow on alone. None where nobody does, or can be
        told.
        """
        broken_off = self._filling is not None and self._filling.done()
        if self._end is not None or not self._is_followed or broken_off:
            return None
        self._end = AnswerFailed()
        self._news.set()
        if self._filling is None:
            self._fill(live=False)
        return self._filling

    def finish(
        self, request_id: str, usage: Usage, finish_reason: FinishReason, *, guarded: bool
    ) -> asyncio.Task[None] | None:
        """Sends what there is to send of it to its end; None where that is nothing.

        An answer that a guard has altered is not stored. Those who follow have guards of their own.
        """
        if finish_reason is FinishReason.CONTENT_FILTER:
            return self.fail()
        live = self._filling is not None and not self._filling.done()
        if not self.writes or not (live or (finish_reason is FinishReason.STOP and not guarded)):
            return None
        if finish_reason not in _SHARED:
            self.close()
            return self._filling
        self._end = AnswerEnd(finish_reason, usage, for_followers_alone=guarded)
        self._news.set()
        if not live:
            if self._filling is not None:
                # It has broken off. Those who follow have some of it: they find it whole once the lead is given back.
                self._lead_token = ""
            self._request_id = request_id
            self._fill(live=False)
        return self._filling

    def _share(self) -> None:
        """From the first token on: before that another model may take over."""
        if self._is_followed and self._begun and self._filling is None:
            self._fill(live=True)

    @property
    def _is_followed(self) -> bool:
        return self.followed.is_set() and self.leads and self.writes

    def _fill(self, *, live: bool) -> None:
        self._filling = self._sent(self._all(), live=live)

    def _sent(self, answer: Coming, *, live: bool) -> asyncio.Task[None]:
        filling = self._cache.fill(
            self._question,
            answer,
            request_id=self._request_id,
            lead_token=self._lead_token,
            as_of=self.as_of,
            live=live,
        )
        return self._background.begin(filling, name="fill")

    async def _all(self) -> Coming:
        """What has come, and what comes; at last its end, unless it breaks off."""
        position = 0
        while self.writes:
            self._news.clear()
            if position < len(self._deltas):
                come, position = self._deltas[position:], len(self._deltas)
                yield come
            elif self._end is not None:
                yield self._end
                return
            else:
                await self._news.wait()


async def _failure() -> Coming:
    yield AnswerFailed()
