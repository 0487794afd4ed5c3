"""The demo's questions, and what must come of each."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from libs.errors import Reason, TokenwayError
from services.mesh.cli.answer import TextAnswer, shown
from services.mesh.cli.question import Question
from services.mesh.cli.stage import Stage
from services.mesh.cli.trace import is_whole, trees_of
from services.mesh.client.router import RouterAddress, connected
from services.mesh.errors import MeshError
from services.mesh.state_directory import RunningMesh
from services.mesh.trace.render import print_trees
from services.mesh.trace.tree import Node
from tokenway.client import Stream
from tokenway.client.router import RouterClient
from tokenway.router.v1.router_pb2 import Finished

QUESTION = Question(prompt="What is the capital of France?", max_tokens=64)
# 44 bytes, 64 for the template and 512 tokens of answer may come to 620 tokens: 124 micro-dollars at the default price.
# That fits the limit, but not after the first question, which costs 9: so the error can say when it will.
DEAR_QUESTION = Question(prompt="Write a long story about a lighthouse keeper.", max_tokens=512)
LIMIT_USD = Decimal("0.000129")
# The span that vLLM itself makes, when a request has ended.
ENGINE_SPAN = "llm_request"
_QUESTION_SECONDS = 60.0
_TRACE_SECONDS = 10.0


class Tour:
    """Asks, shows, and raises MeshError when anything is not as it should be."""

    def __init__(self, *, stage: Stage, mesh: RunningMesh, key: str, traces: Path) -> None:
        self._stage = stage
        self._router = RouterAddress(mesh.router, key)
        self._traces = traces

    async def run(self) -> None:
        """The whole tour."""
        async with connected(self._router) as router:
            self._stage.act("A question, answered token by token")
            first = await self._ask(router, QUESTION)
            expect(not first.receipt.HasField("cached") and first.receipt.cost_micro_usd > 0, "it is made, and costs")
            self._stage.act("The same question again: from the cache, for nothing")
            again = await self._ask(router, QUESTION)
            expect(again.receipt.HasField("cached") and again.receipt.cost_micro_usd == 0, "it is cached, and free")
            self._stage.act(f"A question that the key's budget, ${LIMIT_USD} a day, does not cover")
            await self._is_refused(router, DEAR_QUESTION)
        self._stage.act("The first request, hop by hop, down into the engine")
        await self._show_trace(first.receipt.request_id)

    async def _ask(self, router: RouterClient, question: Question) -> Finished:
        self._stage.asks(question.prompt)
        async with Stream(router.stream_generate(question.message(), timeout_seconds=_QUESTION_SECONDS)) as stream:
            return await shown(stream, TextAnswer(show_receipt=self._stage.receipt))

    async def _is_refused(self, router: RouterClient, question: Question) -> None:
        self._stage.asks(question.prompt)
        try:
            await router.generate(question.message(), timeout_seconds=_QUESTION_SECONDS)
        except TokenwayError as error:
            self._stage.refused(error)
            expect(error.reason is Reason.BUDGET_EXCEEDED, "the budget refuses it")
            expect({"scope", "window", "limit", "used"} <= set(error.metadata), "the refusal says which limit")
            expect(error.retry_after_seconds is not None, "the refusal says when again")
            return
        expect(False, "the budget refuses it")

    async def _show_trace(self, request_id: str) -> None:
        trees = await trees_of(request_id, self._traces, until=_are_whole, patience_seconds=_TRACE_SECONDS)
        print_trees(trees, console=self._stage.console)
        expect(_reach_the_engine(trees), f"the trace reaches vLLM's own {ENGINE_SPAN}")


def expect(holds: bool, what: str) -> None:
    """The demo is also a test."""
    if not holds:
        raise MeshError(f"the demo did not behave; it should be that {what}")


def _are_whole(trees: Sequence[Node]) -> bool:
    return is_whole(trees) and _reach_the_engine(trees)


def _reach_the_engine(trees: Sequence[Node]) -> bool:
    # In one tree: every span of it hangs below the router's.
    return len(trees) == 1 and any(node.span.name == ENGINE_SPAN for node in trees[0].walk())
