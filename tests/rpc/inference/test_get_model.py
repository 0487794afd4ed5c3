"""GetModel, through a real server; and what is not served yet."""

from __future__ import annotations

import pytest

from libs.errors import Reason, TokenwayError
from tests.rpc.inference.served import EMBED, GET_MODEL, Served, generate
from tokenway.inference.v1 import inference_pb2 as pb


async def test_the_model_is_as_configured_and_as_the_engine_runs_it(inference: Served) -> None:
    response = await inference.unary(GET_MODEL, pb.GetModelRequest())
    assert (response.model.name, response.model.revision, response.model.available) == ("small", "7", True)
    assert (response.engine, response.max_model_tokens, response.max_sequences) == ("scripted", 512, 1)


async def test_a_model_with_a_dead_engine_is_not_available(inference: Served) -> None:
    with pytest.raises(TokenwayError):
        await inference.generate(generate("[[fault:die_after=0]]"))
    assert not (await inference.unary(GET_MODEL, pb.GetModelRequest())).model.available


async def test_embedding_is_not_served_yet(inference: Served) -> None:
    with pytest.raises(TokenwayError) as refused:
        await inference.unary(EMBED, pb.EmbedRequest(texts=["Hello"]))
    assert refused.value.reason is Reason.NOT_SERVED
