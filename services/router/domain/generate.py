"""The verb: admits a request, plans it, and hands out its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from libs.errors import FieldViolation, Reason, TokenwayError, invalid_request
from libs.resilience.retry import Retry
from services.router.domain.account import Account
from services.router.domain.admission import Admission
from services.router.domain.ahead import Ahead
from services.router.domain.answer import Event, Receipt
from services.router.domain.answering import Answering, Tools
from services.router.domain.ask import Ask
from services.router.domain.cache_explanation import CacheExplanation
from services.router.domain.catalogue import Model
from services.router.domain.engine_wait import EngineWait
from services.router.domain.guards.answer_guard import Unguarded
from services.router.domain.guards.guard import Guard, Guarded
from services.router.domain.guards.policy import GuardPolicy
from services.router.domain.ports import Budget, CachePolicy, CacheQuestion, Engines, PassedLimit
from services.router.domain.principal import Principal
from services.router.domain.route import Plan, require_candidates, route
from services.router.domain.storing import READING, Storing
from services.router.domain.trying import Trying

# Why the cache is not asked where the organisation's policy says so.
_DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Policy:
    """How requests are served."""

    retry: Retry
    first_lease_tokens: int
    max_cached_tokens: int
    cache_policies: Mapping[str, CachePolicy]
    # By organisation; one that is missing has none.
    guards: Mapping[str, GuardPolicy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks in this call, and what it waits for."""

    principal: Principal
    request_id: str
    remaining_seconds: Callable[[], float | None]
    # Told what a request has cost that ended without its last message.
    on_receipt: Callable[[Receipt], None]
    # What sending it its messages has taken so far.
    sending_seconds: Callable[[], float] = lambda: 0.0
    # Told which soft limits stand passed, at the request's end.
    on_warnings: Callable[[Sequence[PassedLimit]], None] = lambda _: None


class Generate:
    """Serves requests with the models of one mesh."""

    def __init__(
        self,
        *,
        models: Sequence[Model],
        engines: Engines,
        budget: Budget,
        admission: Admission,
        tools: Tools,
        policy: Policy,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._models, self._engines, self._budget = tuple(models), engines, budget
        self._admission, self._tools, self._policy, self._sleep = admission, tools, policy, sleep
        self._guards = {
            organisation: Guard(each, watcher=tools.watcher, clock=tools.clock)
            for organisation, each in policy.guards.items()
        }

    def explain(self, ask: Ask, principal: Principal) -> Plan:
        """Where a request would go; it may be nowhere. INVALID_REQUEST for a model that does not exist."""
        self._check_model(ask, principal)
        return route(ask, models=self._models, principal=principal, ready=self._engines.ready)

    async def explain_cache(self, ask: Ask, principal: Principal) -> CacheExplanation:
        """What the cache would make of a request, on its way through the same guards to the same model.

        Raises what the request would: CONTENT_REFUSED, NO_MODEL_QUALIFIES; SERVICE_UNAVAILABLE without the cache.
        """
        guarded = await self._guarded(ask, principal)
        question = self._cache_question(guarded, require_candidates(self.explain(guarded.ask, principal)), principal)
        explanation = await self._tools.cache.explain(question)
        if not question.policy.enabled:
            return replace(explanation, bypass_reason=_DISABLED)
        if ask.cache_mode not in READING:
            return replace(explanation, bypass_reason=f"mode_{ask.cache_mode}")
        return explanation

    async def report_bad_hit(self, request_id: str, principal: Principal) -> bool:
        """Evicts a cached answer that was wrong; False when it is gone already. INVALID_REQUEST without a request."""
        if not request_id:
            raise invalid_request(FieldViolation("request_id", "is empty: give the id that the receipt has"))
        return await self._tools.cache.report_bad_hit(principal, request_id)

    def models(self, principal: Principal) -> list[tuple[Model, bool]]:
        """The models that a principal may use and whether each is ready, cheapest output first."""
        allowed = [each for each in self._models if principal.may_use(each.name)]
        allowed.sort(key=lambda each: (each.price.output_micro_usd_per_million_tokens, each.name))
        return [(each, self._engines.ready(each.name)) for each in allowed]

    async def stream(self, ask: Ask, caller: Caller) -> AsyncGenerator[Event]:
        """Started, deltas, Finished; see Answering. CONCURRENCY_EXCEEDED, CONTENT_REFUSED, NO_MODEL_QUALIFIES …"""
        with ExitStack() as place:
            guarded, plan = await self._admitted(ask, caller.principal, place)
            async with self._answering(guarded, caller, plan) as events:
                async for event in events:
                    yield event

    async def _admitted(self, ask: Ask, principal: Principal, place: ExitStack) -> tuple[Guarded, Plan]:
        """A place among the requests in flight, which the stack gives back; what may be asked, and models to try."""
        try:
            place.enter_context(self._admission.one())
            guarded = await self._guarded(ask, principal)
            plan = self.explain(guarded.ask, principal)
            self._tools.watcher.routed(plan)
            return guarded, require_candidates(plan)
        except TokenwayError as error:
            self._tools.watcher.refused(error.reason)
            raise

    async def _guarded(self, ask: Ask, principal: Principal) -> Guarded:
        guard = self._guards.get(principal.organisation)
        return Guarded(ask, Unguarded()) if guard is None else await guard.question(ask)

    def _answering(self, guarded: Guarded, caller: Caller, plan: Plan) -> Ahead:
        tools, policy, ask = self._tools, self._policy, guarded.ask
        question = self._cache_question(guarded, plan, caller.principal)
        account = Account(
            budget=self._budget,
            background=tools.background,
            clock=tools.clock,
            ask=ask,
            principal=caller.principal,
            request_id=caller.request_id,
            first_lease_tokens=policy.first_lease_tokens,
        )
        wait = EngineWait(tools.clock)
        trying = Trying(
            engines=self._engines,
            retry=policy.retry,
            ask=ask,
            request_id=caller.request_id,
            account=account,
            watcher=tools.watcher,
            wait=wait,
            sleep=self._sleep,
            remaining_seconds=caller.remaining_seconds,
        )
        storing = Storing(
            cache=tools.cache, background=tools.background, question=question, max_tokens=policy.max_cached_tokens
        )
        answering = Answering(
            tools=tools,
            plan=plan,
            question=question,
            request_id=caller.request_id,
            account=account,
            trying=trying,
            storing=storing,
            wait=wait,
            guard=guarded.answer,
            remaining_seconds=caller.remaining_seconds,
            sending_seconds=caller.sending_seconds,
            on_receipt=caller.on_receipt,
            on_warnings=caller.on_warnings,
        )
        return Ahead(answering.events(), followed=storing.followed)

    def _cache_question(self, guarded: Guarded, plan: Plan, principal: Principal) -> CacheQuestion:
        policy = self._policy.cache_policies.get(principal.organisation, CachePolicy(enabled=False))
        return CacheQuestion(guarded.ask, plan.candidates[0], principal, policy)

    def _check_model(self, ask: Ask, principal: Principal) -> None:
        if not ask.model:
            return
        names = [each.name for each in self._models]
        allowed = ", ".join(name for name in names if principal.may_use(name))
        if ask.model not in names:
            raise invalid_request(
                FieldViolation("request.model", f"is {ask.model!r}: give one of {allowed}, or nothing")
            )
        if not principal.may_use(ask.model):
            raise TokenwayError(
                Reason.MODEL_NOT_ALLOWED,
                f"the key {principal.key_id} may not use {ask.model}; it may use {allowed}",
                metadata={"key_id": principal.key_id, "model": ask.model},
            )
