"""What the router needs of the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from libs.money import Price
from libs.resilience.retry import Retry
from libs.rpc.tls import Tls
from libs.settings import schema
from services.router.domain.ask import CacheTier
from services.router.domain.catalogue import Model
from services.router.domain.guards.policy import Action, GuardPolicy, Pattern, Pii
from services.router.domain.ports import CachePolicy


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """Where it listens, whom it calls, and the rules that it serves by."""

    listen: str
    cache_address: str
    budget_address: str
    redis_url: str = field(repr=False)
    models: tuple[Model, ...]
    # Model name → the addresses of its replicas.
    endpoints: Mapping[str, tuple[str, ...]]
    cache_policies: Mapping[str, CachePolicy]
    metrics_listen: str = "127.0.0.1:0"
    guards: Mapping[str, GuardPolicy] = field(default_factory=dict)
    # Organisations that may spend while Redis is away.
    open_when_away: frozenset[str] = frozenset()
    tls: Tls | None = None
    drain_seconds: float = 30
    max_concurrent_requests: int = 100
    # Of a key that is looked up.
    redis_timeout_seconds: float = 0.5
    # The budget answers within a second or says that it cannot; a little more covers the way.
    budget_timeout_seconds: float = 1.5
    default_deadline_seconds: float = 120
    cache_lookup_seconds: float = 0.02
    cache_semantic_seconds: float = 0.05
    first_lease_tokens: int = 256
    max_cached_tokens: int = 16_384
    max_prompt_bytes: int = 1 << 20
    retry: Retry = field(default=Retry(attempts=3, wait_min_seconds=1, wait_max_seconds=10))

    @classmethod
    def from_settings(cls, settings: schema.Settings) -> Self:
        """The router's part of the file. The others are called where the file says they are reached."""
        router, services = settings.services.router, settings.services
        return cls(
            listen=router.listen,
            metrics_listen=router.metrics,
            cache_address=services.cache.reached_at,
            budget_address=services.budget.reached_at,
            redis_url=settings.stores.redis_url,
            models=tuple(_model(each) for each in settings.models),
            endpoints={each.name: each.endpoints for each in settings.models},
            cache_policies={each.name: _policy(each.cache) for each in settings.organisations},
            guards={each.name: _guards(each.guards) for each in settings.organisations if each.guards},
            open_when_away=frozenset(each.name for each in settings.organisations if each.open_when_away),
            tls=Tls(router.tls.certificate_file, router.tls.key_file, router.tls.ca_file) if router.tls else None,
            drain_seconds=router.drain_seconds,
            max_concurrent_requests=router.max_concurrent_requests,
            default_deadline_seconds=router.default_deadline_seconds,
            cache_lookup_seconds=router.cache_lookup_seconds,
            cache_semantic_seconds=router.cache_semantic_seconds,
            first_lease_tokens=services.budget.first_lease_tokens,
            max_prompt_bytes=router.max_prompt_bytes,
            retry=Retry(router.attempts_per_model, router.retry_wait_min_seconds, router.retry_wait_max_seconds),
        )


def _model(model: schema.Model) -> Model:
    return Model(
        name=model.name,
        tier=model.tier,
        price=_price(model.price),
        context_window_tokens=model.context_window_tokens,
        capabilities=frozenset(model.capabilities),
        p99_latency_seconds=model.p99_latency_seconds,
        revision=model.revision,
        remote=isinstance(model.engine, schema.OpenAiEngine),
    )


def _price(price: schema.Price) -> Price:
    fresh = price.input_usd_per_million_tokens
    cached = price.cached_input_usd_per_million_tokens
    return Price(
        schema.micro_usd(fresh),
        schema.micro_usd(fresh if cached is None else cached),
        schema.micro_usd(price.output_usd_per_million_tokens),
        price.version,
    )


def _policy(policy: schema.CachePolicy) -> CachePolicy:
    return CachePolicy(
        enabled=policy.enabled,
        scope=policy.scope,
        ttl_seconds=policy.ttl_seconds,
        reuse_sampled=policy.reuse_sampled,
        tier=CacheTier[policy.tier.upper()],
        single_flight=policy.single_flight,
    )


def _guards(guards: schema.Guards) -> GuardPolicy:
    patterns = (Pattern(each.name, each.regex, Action(each.input), Action(each.output)) for each in guards.patterns)
    return GuardPolicy(_actions(guards.input), _actions(guards.output), tuple(patterns), guards.restore)


def _actions(kinds: schema.GuardKinds) -> Mapping[Pii, Action]:
    return {kind: Action(getattr(kinds, kind)) for kind in Pii}
