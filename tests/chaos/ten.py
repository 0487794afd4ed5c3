"""A key with money for ten answers, and two hundred clients at once: a row after another, on one mesh."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import grpc

from libs.rpc.channel import dial
from libs.testing.valkey import RedisServer, valkey_binary
from services.inference.adapters.made_tokens import MadeTokens
from tests.chaos.asking import LEFT, REFUSED, WHOLE, Answer, Asker
from tests.chaos.books import Books, books
from tests.chaos.evidence import Evidence
from tests.chaos.mesh import ROUTERS, Mesh, chaos_mesh
from tests.chaos.orders import Asked
from tests.chaos.row import AT_ONCE, PRICE, TEN, Row
from tests.chaos.run import folder
from tests.chaos.told import Told

# As the mesh has them by default.
_LEASE_SECONDS, _LEASE_TOKENS = 60, 256
_PATIENCE_SECONDS = 120.0


async def ten(rows: Sequence[Row]) -> list[tuple[Row, Told]]:
    """One row after another, on one mesh."""
    async with AsyncExitStack() as stack:
        home = stack.enter_context(folder())
        redis = stack.enter_context(RedisServer(binary=valkey_binary(), folder=home))
        mesh = await stack.enter_async_context(
            chaos_mesh(
                home,
                redis_url=redis.url,
                organisations=[each.organisation for each in rows],
                lease_seconds=_LEASE_SECONDS,
                price=PRICE,
                first_lease_tokens=_LEASE_TOKENS,
            )
        )
        channels = [await stack.enter_async_context(dial(mesh.address(each))) for each in ROUTERS]
        return [(row, await _Probe(row, mesh, redis, channels).told()) for row in rows]


class _Probe:
    def __init__(self, row: Row, mesh: Mesh, redis: RedisServer, channels: Sequence[grpc.aio.Channel]) -> None:
        self._row, self._mesh, self._redis = row, mesh, redis
        self._got_file = mesh.folder / f"got-{row.payer.organisation}.jsonl"
        self._got = MadeTokens(str(self._got_file))
        self._askers = [Asker(each, self._got) for each in channels]
        self._whole = 0

    async def told(self) -> Told:
        answers = await asyncio.gather(*(self._one(number) for number in range(AT_ONCE)))
        self._got.close()
        books = await self._settled()
        return self._told(answers, books)

    async def _one(self, number: int) -> Answer:
        asker = self._askers[number % len(self._askers)]
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while True:
            answer = asker.answer(self._row.payer.key)
            await answer.until_its_end(self._row.question)
            self._whole += answer.ending == WHOLE
            again = answer.retry_after_seconds
            if answer.ending != REFUSED or not self._row.obeys or self._whole >= TEN or again is None:
                return answer
            if time.monotonic() + again > give_up_at:
                return answer
            await asyncio.sleep(again)

    async def _settled(self) -> Books:
        """What the leavers have to pay is booked behind their backs."""
        async with asyncio.timeout(30):
            while self._books().open_leases:  # noqa: ASYNC110 # Redis is only looked at: there is nothing to wait on
                await asyncio.sleep(0.05)
        return self._books()

    def _books(self) -> Books:
        return books(self._redis.url, [self._row.payer.organisation])[self._row.payer.organisation]

    def _told(self, answers: Sequence[Answer], books: Books) -> Told:
        mine = {each.request_id for each in answers}
        asked = tuple(Asked(each.request_id, *self._whose, 0, each.ending) for each in answers)
        evidence = replace(Evidence.of_files(PRICE, self._mesh.made_tokens_file, [self._got_file], ()), asked=asked)
        billed = Counter({each.request_id: each.output_tokens for each in books.receipts.values()})
        spent = sum(each.cost_micro_usd for each in books.receipts.values())
        delivered = evidence.delivered_micro_usd
        endings = evidence.endings
        return Told(
            whole=endings[WHOLE],
            left=endings[LEFT],
            refused=endings[REFUSED],
            cut=AT_ONCE - endings[WHOLE] - endings[LEFT] - endings[REFUSED],
            received=evidence.received.total(),
            billed=billed.total(),
            made=sum(evidence.made[each] for each in mine),
            misbilled=sum(
                not evidence.received[each] <= billed[each] <= evidence.made[each] for each in mine | billed.keys()
            ),
            overspend=max(0, sum(delivered.values()) - self._row.limit_micro_usd),
            unpaid=sum(max(0, cost - books.by_request[each]) for each, cost in delivered.items()),
            idle=self._row.limit_micro_usd - spent,
            reserved=books.reserved,
        )

    @property
    def _whose(self) -> tuple[str, str]:
        return self._row.payer.organisation, self._row.payer.key_id
