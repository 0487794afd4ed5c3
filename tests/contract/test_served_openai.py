"""The engine `openai` on a real server of that API: what only a real one can show, beside the engines' contract.

`make test-provider` starts the server (vLLM's own, on a tiny model of random weights); without it nothing here runs.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from libs.errors import Reason, TokenwayError
from libs.generation.question import JsonSchema
from libs.money import UsageSource
from services.inference.adapters.openai_engine import OpenAiEngine
from tests.contract.engines import MAX_MODEL_TOKENS, answer_of, openai_engine, request

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVER = os.environ.get("TOKENWAY_TEST_PROVIDER_URL", "")
COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}


async def test_what_the_server_counts_is_what_is_billed(served: OpenAiEngine) -> None:
    answer = await answer_of(served, request("abc", max_tokens=20))
    usage = answer.finished.usage
    assert (usage.source, usage.output_tokens) == (UsageSource.PROVIDER, 20)
    # A token a byte, and the template's own.
    assert usage.input_tokens > 3
    longer = await answer_of(served, request("abcdefghij", max_tokens=20))
    assert longer.finished.usage.input_tokens == usage.input_tokens + 7


async def test_an_answer_follows_a_json_schema(served: OpenAiEngine) -> None:
    asked = request("Which?", max_tokens=200)
    asked = replace(asked, question=replace(asked.question, response_format=JsonSchema(json.dumps(COLOUR))))
    assert json.loads((await answer_of(served, asked)).text)["colour"] in {"red", "blue"}


async def test_a_prompt_longer_than_the_context_is_refused_as_such(served: OpenAiEngine) -> None:
    with pytest.raises(TokenwayError) as caught:
        await answer_of(served, request("x" * 2 * MAX_MODEL_TOKENS))
    assert caught.value.reason is Reason.CONTEXT_TOO_LONG


@pytest.mark.parametrize(
    ("model", "key"), [("tiny", "wrong"), ("huge", "secret")], ids=["a wrong key", "no such model"]
)
async def test_what_only_the_operator_can_mend_is_unavailable(model: str, key: str) -> None:
    async with openai_engine(SERVER, environment={"KEY": key}, model=model, api_key_env="KEY") as engine:
        with pytest.raises(TokenwayError) as caught:
            await answer_of(engine, request())
    assert caught.value.reason is Reason.SERVICE_UNAVAILABLE
    assert key not in caught.value.message
