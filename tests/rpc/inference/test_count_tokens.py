"""CountTokens, through a real server."""

from __future__ import annotations

import pytest

from libs.errors import TokenwayError
from tests.rpc.inference.served import COUNT_TOKENS, Served, question
from tokenway.inference.v1 import inference_pb2 as pb


async def test_the_count_is_what_generating_would_report(inference: Served) -> None:
    response = await inference.unary(COUNT_TOKENS, pb.CountTokensRequest(input=question("One two three")))
    assert response.tokens == 3


async def test_no_input_cannot_be_counted(inference: Served) -> None:
    with pytest.raises(TokenwayError, match="input: has neither a prompt nor a conversation"):
        await inference.unary(COUNT_TOKENS, pb.CountTokensRequest())
