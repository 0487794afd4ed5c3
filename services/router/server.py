"""The router, put together: the only file that names concrete classes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from opentelemetry.trace import NoOpTracer

from libs.background import Background, running
from libs.errors import Reason
from libs.redis_client import redis_or_cluster, require
from libs.rpc.client import Client
from libs.rpc.routes import Route
from libs.rpc.runtime import Runtime
from libs.rpc.server import RpcServer
from services.router.adapters.audit import Audit
from services.router.adapters.budget_client import BudgetClient
from services.router.adapters.cache_client import CacheClient
from services.router.adapters.inference_client import InferenceClient
from services.router.adapters.otel_watcher import OtelWatcher
from services.router.adapters.redis_keys import RedisKeys
from services.router.adapters.replicas import Replicas
from services.router.config import RouterConfig
from services.router.domain.admission import Admission
from services.router.domain.answering import Tools
from services.router.domain.generate import Generate, Policy
from services.router.domain.ports import Budget, Cache, Engines, Keys
from services.router.transport.admin_servicer import AdminServicer
from services.router.transport.authentication import authentication
from services.router.transport.cache_admin_servicer import CacheAdminServicer
from services.router.transport.convert import receipt_to_proto
from services.router.transport.retry_info import retry_info
from services.router.transport.servicer import RouterServicer, router_routes


@asynccontextmanager
async def serve(
    config: RouterConfig,
    *,
    runtime: Runtime,
    keys: Keys | None = None,
    cache: Cache | None = None,
    budget: Budget | None = None,
    engines: Engines | None = None,
) -> AsyncIterator[RpcServer]:
    """Serves until the block is left. A dependency that is given is used, and not closed; the others are built here."""
    async with AsyncExitStack() as stack:
        # Built first, ended last: settlements still need their clients while the server drains.
        cache_service = await _client(config.cache_address, "cache", runtime, stack)
        budget_service = await _client(config.budget_address, "budget", runtime, stack)
        tools = _tools(config, runtime, cache or _cache(config, cache_service, runtime))
        generate = Generate(
            models=config.models,
            engines=engines or await _engines(config, runtime, stack),
            budget=budget or BudgetClient(budget_service, timeout_seconds=config.budget_timeout_seconds),
            admission=Admission(max_concurrent_requests=config.max_concurrent_requests),
            tools=tools,
            policy=_policy(config),
        )
        keys = keys or await _keys(config, runtime, stack)
        await stack.enter_async_context(tools.background)
        servicer = RouterServicer(generate=generate, max_prompt_bytes=config.max_prompt_bytes)
        audit = Audit()
        admin = AdminServicer(
            budget=budget_service,
            audit=audit,
            clock=runtime.clock,
            models=frozenset(each.name for each in config.models),
        )
        cache_admin = CacheAdminServicer(
            cache=cache_service, generate=generate, audit=audit, max_prompt_bytes=config.max_prompt_bytes
        )
        routes = router_routes(servicer, admin, cache_admin)
        yield await stack.enter_async_context(_server(config, runtime, routes, keys))


def _server(config: RouterConfig, runtime: Runtime, routes: tuple[Route, ...], keys: Keys) -> RpcServer:
    return RpcServer(
        name="router",
        listen=config.listen,
        routes=routes,
        runtime=runtime,
        public=True,
        tls=config.tls,
        drain_seconds=config.drain_seconds,
        default_deadline_seconds=config.default_deadline_seconds,
        pack=receipt_to_proto,
        inner=(authentication(keys), retry_info()),
    )


def _tools(config: RouterConfig, runtime: Runtime, cache: Cache) -> Tools:
    return Tools(
        cache=cache,
        background=Background(drain_seconds=config.drain_seconds),
        watcher=OtelWatcher(tracer=runtime.tracer, registry=runtime.registry),
        clock=runtime.clock,
        cache_wait_seconds=config.cache_lookup_seconds,
    )


def _policy(config: RouterConfig) -> Policy:
    return Policy(
        config.retry, config.first_lease_tokens, config.max_cached_tokens, config.cache_policies, config.guards
    )


def _cache(config: RouterConfig, service: Client, runtime: Runtime) -> Cache:
    return CacheClient(
        service,
        lookup_seconds=config.cache_lookup_seconds,
        semantic_seconds=config.cache_semantic_seconds,
        clock=runtime.clock,
    )


async def _client(address: str, service: str, runtime: Runtime, stack: AsyncExitStack) -> Client:
    client = runtime.client(address, service=service)
    stack.push_async_callback(client.close)
    return client


async def _engines(config: RouterConfig, runtime: Runtime, stack: AsyncExitStack) -> InferenceClient:
    replicas = Replicas(
        config.endpoints,
        dial=lambda address, host: runtime.client(address, service="inference", host=host),
        probe=lambda address, host: runtime.client(address, service="inference", host=host, tracer=NoOpTracer()),
    )
    stack.push_async_callback(replicas.close)
    await replicas.resolve()
    await stack.enter_async_context(running(replicas.watch(), name="replicas"))
    return InferenceClient(replicas)


async def _keys(config: RouterConfig, runtime: Runtime, stack: AsyncExitStack) -> RedisKeys:
    redis = redis_or_cluster(config.redis_url)
    stack.push_async_callback(redis.aclose)
    await require(redis, url=config.redis_url, reason=Reason.KEY_STORE_UNAVAILABLE)
    return RedisKeys(
        redis,
        clock=runtime.clock,
        background=await stack.enter_async_context(Background(drain_seconds=config.redis_timeout_seconds)),
        timeout_seconds=config.redis_timeout_seconds,
        open_when_away=config.open_when_away,
    )
