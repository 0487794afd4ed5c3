"""An answer that a model of the mesh makes for one request: what is covered of it, and kept for the cache."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

from libs.errors import Reason, TokenwayError
from services.router.domain.account import Account
from services.router.domain.answer import Delta, FinishReason
from services.router.domain.catalogue import Model
from services.router.domain.ports import EngineEvent, EngineFinished, EngineStarted, Watcher
from services.router.domain.route import Plan
from services.router.domain.storing import Storing
from services.router.domain.trying import Begun, Trying


class Generating:
    """`model` is the one that answers, `finish_reason` why its answer ended."""

    def __init__(self, *, plan: Plan, account: Account, trying: Trying, storing: Storing, watcher: Watcher) -> None:
        self._plan, self._account, self._trying, self._storing = plan, account, trying, storing
        self._watcher = watcher
        self.model = plan.candidates[0]
        self.finish_reason = FinishReason.STOP

    async def events(self) -> AsyncGenerator[EngineStarted | Delta]:
        """EngineStarted once no other model can take over, then what the lease covers of the answer."""
        async with AsyncExitStack() as stack:
            begun = await self._trying.begin(self._plan, stack)
            self.model = begun.attempt.model
            self._account.begin(
                input_tokens=begun.started.input_tokens, cached_input_tokens=begun.started.cached_input_tokens
            )
            self._storing.begin(self.model)
            yield begun.started
            async with aclosing(self._joined(begun)) as engine:
                async for event in engine:
                    if isinstance(event, EngineFinished):
                        self._account.counted(event.usage)
                        self.finish_reason = event.finish_reason
                    elif not isinstance(event, EngineStarted):
                        delta = await self._covered_part(event)
                        if delta is not None:
                            self._storing.add(delta)
                            yield delta
                        if delta is not event:
                            self.finish_reason = self._account.ended_by or FinishReason.BUDGET
                            break

    async def _joined(self, begun: Begun) -> AsyncGenerator[EngineEvent]:
        """The first event and the rest; an engine that fails now has broken an answer that somebody is reading."""
        yield begun.first
        try:
            async for event in begun.events:
                yield event
        except TokenwayError as error:
            if error.reason is Reason.OUT_OF_TIME:
                raise
            raise self._broken(begun.attempt.model, error) from error

    async def _covered_part(self, delta: Delta) -> Delta | None:
        """What the lease covers of a delta: all of it, its beginning, or nothing."""
        covered = await self._account.covered(delta.tokens)
        part = delta if covered >= delta.tokens else delta.first(covered)
        delivered = part.tokens if part is not None else 0
        self._account.delivered(delivered)
        if delivered < delta.tokens:
            self._watcher.discarded(self.model.name, tokens=delta.tokens - delivered)
        return part

    def _broken(self, model: Model, error: TokenwayError) -> TokenwayError:
        tokens = self._account.usage.output_tokens
        message = f"{model.name} broke off after {tokens} tokens, which are billed: {error.message}; ask again"
        return TokenwayError(Reason.STREAM_BROKEN, message, metadata={"model": model.name, "cause": error.reason})
