"""Ask a Tokenway mesh from Python.

async with Client("127.0.0.1:50051", key=key) as client:
    async with client.stream("What is the capital of France?", max_tokens=64) as answer:
        async for text in answer:
            print(text, end="", flush=True)
    print(answer.receipt.cost_micro_usd)
"""

from libs.errors import FieldViolation, QuotaViolation, Reason
from tokenway.client.answer import Answer, FinishReason
from tokenway.client.client import Client
from tokenway.client.errors import CallError
from tokenway.client.question import Options, Question, assistant, system, tool, tool_result, user
from tokenway.client.retry import again
from tokenway.client.stream import Stream
from tokenway.client.sync import SyncClient, SyncStream

__all__ = [
    "Answer",
    "CallError",
    "Client",
    "FieldViolation",
    "FinishReason",
    "Options",
    "Question",
    "QuotaViolation",
    "Reason",
    "Stream",
    "SyncClient",
    "SyncStream",
    "again",
    "assistant",
    "system",
    "tool",
    "tool_result",
    "user",
]
