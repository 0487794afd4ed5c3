"""Which model answers: those that qualify, cheapest first. Pure, so that ExplainRoute runs the very same code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from libs.errors import Reason, TokenwayError
from libs.money import Usage, cost_micro_usd, usd
from services.router.domain.ask import Ask
from services.router.domain.catalogue import Model
from services.router.domain.principal import Principal

# What a caller that names no model and no context needs at least.
DEFAULT_CONTEXT_TOKENS = 4_096


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one model. No reasons: it qualifies."""

    model: Model
    reasons: tuple[str, ...]
    expected_cost_micro_usd: int
    ready: bool

    @property
    def qualifies(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Plan:
    """Every model's verdict, in the order of trying; those that do not qualify come last."""

    verdicts: tuple[Verdict, ...]
    why: str

    @property
    def candidates(self) -> tuple[Model, ...]:
        return tuple(each.model for each in self.verdicts if each.qualifies)


def route(ask: Ask, *, models: Sequence[Model], principal: Principal, ready: Callable[[str], bool]) -> Plan:
    """The plan for a request; it may have no candidate.

    A model without a ready replica is tried last, not left out: readiness is a second old, and may be wrong.
    """
    verdicts = sorted((_verdict(ask, each, principal, ready(each.name)) for each in models), key=_order)
    return Plan(tuple(verdicts), _why(ask, verdicts))


def require_candidates(plan: Plan) -> Plan:
    """The plan itself; NO_MODEL_QUALIFIES with each model's reasons when nothing can be tried."""
    if plan.candidates:
        return plan
    against = {each.model.name: "; ".join(each.reasons) for each in plan.verdicts}
    listed = ", ".join(f"{name} ({reasons})" for name, reasons in against.items())
    message = f"no model qualifies: {listed}; relax a requirement or name another model"
    raise TokenwayError(Reason.NO_MODEL_QUALIFIES, message, metadata=against)


def _verdict(ask: Ask, model: Model, principal: Principal, ready: bool) -> Verdict:
    usage = Usage(input_tokens=ask.likely_input_tokens, output_tokens=ask.max_output_tokens)
    cost = cost_micro_usd(model.price, usage)
    per_1k_tokens = cost * 1_000 // max(1, usage.input_tokens + usage.output_tokens)
    reasons = tuple(_against(ask, model, principal, per_1k_tokens))
    return Verdict(model, reasons, cost, ready)


def _against(ask: Ask, model: Model, principal: Principal, per_1k_tokens: int) -> Iterator[str]:
    wanted = ask.requirements
    if ask.model and model.name != ask.model:
        yield f"{ask.model} was asked for"
    if not principal.may_use(model.name):
        yield "the key may not use it"
    for capability in sorted(wanted.capabilities):
        if not model.can(capability):
            yield f"lacks the capability {capability}"
    if model.context_window_tokens < (needed := _context_tokens(ask)):
        yield f"its context window of {model.context_window_tokens} tokens is below the {needed} that are needed"
    if wanted.max_latency_seconds is not None and model.p99_latency_seconds > wanted.max_latency_seconds:
        yield f"its 99th percentile of {model.p99_latency_seconds:g} s exceeds {wanted.max_latency_seconds:g} s"
    limit = wanted.max_cost_micro_usd_per_1k_tokens
    if limit is not None and per_1k_tokens > limit:
        yield f"costs {usd(per_1k_tokens)} per 1,000 tokens, more than {usd(limit)}"


def _context_tokens(ask: Ask) -> int:
    asked = ask.requirements.context_tokens
    if ask.model:
        # The engine counts the prompt exactly and says what does not fit; only what was asked for is demanded here.
        return asked or 0
    return max(asked if asked is not None else DEFAULT_CONTEXT_TOKENS, ask.likely_input_tokens + ask.max_output_tokens)


def _order(verdict: Verdict) -> tuple[bool, bool, int, float, str]:
    model = verdict.model
    return (
        not verdict.qualifies,
        not verdict.ready,
        verdict.expected_cost_micro_usd,
        model.p99_latency_seconds,
        model.name,
    )


def _why(ask: Ask, verdicts: Sequence[Verdict]) -> str:
    qualified = sum(each.qualifies for each in verdicts)
    if not qualified:
        return "none qualifies"
    if ask.model:
        return "asked for by name"
    return "the only one that qualifies" if qualified == 1 else f"the cheapest of {qualified} that qualify"
