"""The budget, put together: the only file that names concrete classes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from libs.background import running
from libs.errors import Reason
from libs.redis_client import redis_or_cluster, require
from libs.rpc.runtime import Runtime
from libs.rpc.server import RpcServer
from services.budget.adapters.away_metrics import AwayMetrics
from services.budget.adapters.journal_file import JournalFile
from services.budget.adapters.jsonl_archive import JsonlArchive
from services.budget.adapters.observed_ledger import LedgerMetrics, ObservedLedger
from services.budget.adapters.redis_bookkeeper import RedisBookkeeper
from services.budget.adapters.redis_calls import RedisCalls
from services.budget.adapters.redis_keys import RedisKeys
from services.budget.adapters.redis_ledger import RedisLedger
from services.budget.adapters.redis_organisations import RedisOrganisations
from services.budget.config import BudgetConfig
from services.budget.domain.away_ledger import AwayLedger
from services.budget.domain.bookkeeper import Bookkeeper
from services.budget.domain.chore import Chore
from services.budget.domain.ports import KeyStore, Ledger
from services.budget.domain.seed import sow
from services.budget.transport.admin_servicer import BudgetAdminServicer
from services.budget.transport.servicer import BudgetServicer, budget_routes

# Receipts are kept for days: some minutes more are none.
_TRIM_SECONDS = 300


@asynccontextmanager
async def serve(
    config: BudgetConfig,
    *,
    runtime: Runtime,
    ledger: Ledger | None = None,
    bookkeeper: Bookkeeper | None = None,
    keys: KeyStore | None = None,
) -> AsyncIterator[RpcServer]:
    """Serves until the block is left. A dependency that is given is used, and not closed; the others are built here."""
    async with AsyncExitStack() as stack:
        metrics = LedgerMetrics(runtime.registry)
        if ledger is None or bookkeeper is None or keys is None:
            built = await _in_redis(config, runtime, metrics, stack)
            ledger, bookkeeper, keys = ledger or built[0], bookkeeper or built[1], keys or built[2]
        await sow(config.seed, ledger=ledger, keys=keys)
        ledger = ObservedLedger(_open_when_away(config, runtime, ledger, stack), metrics=metrics)
        for chore in (
            Chore("a sweep", ledger.sweep, period_seconds=config.sweep_seconds, on_end=metrics.sweep_ended),
            Chore("trimming the ledger", bookkeeper.trim, period_seconds=_TRIM_SECONDS, on_end=metrics.trim_ended),
        ):
            await stack.enter_async_context(running(chore.run(), name=chore.name))
        yield await stack.enter_async_context(_server(config, runtime, ledger, bookkeeper, keys))


async def _in_redis(
    config: BudgetConfig, runtime: Runtime, metrics: LedgerMetrics, stack: AsyncExitStack
) -> tuple[RedisLedger, RedisBookkeeper, RedisKeys]:
    redis = redis_or_cluster(config.redis_url, decode_responses=True)
    stack.push_async_callback(redis.aclose)
    timeout_seconds = config.redis_timeout_seconds
    await require(redis, url=config.redis_url, reason=Reason.BUDGET_UNAVAILABLE)
    calls = await stack.enter_async_context(RedisCalls(redis, timeout_seconds=timeout_seconds))
    organisations = RedisOrganisations(redis=redis, clock=runtime.clock)
    ledger = RedisLedger(
        redis=redis,
        calls=calls,
        organisations=organisations,
        policy=config.lease,
        timeout_seconds=timeout_seconds,
        on_swept=metrics.swept,
    )
    bookkeeper = RedisBookkeeper(
        redis=redis,
        calls=calls,
        organisations=organisations,
        timeout_seconds=timeout_seconds,
        receipt_days=config.receipt_days,
        archive=JsonlArchive(config.receipts_export_dir) if config.receipts_export_dir else None,
    )
    return ledger, bookkeeper, RedisKeys(redis=redis, timeout_seconds=timeout_seconds)


def _open_when_away(config: BudgetConfig, runtime: Runtime, ledger: Ledger, stack: AsyncExitStack) -> Ledger:
    """Also without an organisation that is open now: one may have been, and what it spent has to be booked."""
    watcher = AwayMetrics(runtime.registry)
    if config.unbooked_folder is None:
        return ledger
    journal = JournalFile(config.unbooked_folder, listen=config.listen)
    stack.callback(journal.close)
    return AwayLedger(
        ledger,
        journal=journal,
        terms=config.away_terms,
        lease_seconds=config.lease.lifetime_seconds,
        clock=runtime.clock,
        watcher=watcher,
    )


def _server(
    config: BudgetConfig, runtime: Runtime, ledger: Ledger, bookkeeper: Bookkeeper, keys: KeyStore
) -> RpcServer:
    servicer = BudgetServicer(ledger=ledger, first_lease_tokens=config.first_lease_tokens)
    admin = BudgetAdminServicer(ledger=ledger, bookkeeper=bookkeeper, keys=keys, clock=runtime.clock)
    return RpcServer(
        name="budget",
        listen=config.listen,
        routes=budget_routes(servicer, admin),
        runtime=runtime,
        drain_seconds=config.drain_seconds,
    )
