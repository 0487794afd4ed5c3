"""Asks a mesh one question: the answer on standard output as it comes, receipt or error on standard error.

See README.md for the options and what is read from the environment.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator

from opentelemetry import context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tokenway.client import Answer, CallError, Client


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="")  # the mesh chooses
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--stop-after", type=int, default=sys.maxsize)
    parser.add_argument("--ca")
    parser.add_argument("question", nargs="+")
    return parser.parse_args()


async def ask(given: argparse.Namespace, address: str, key: str) -> None:
    question = " ".join(given.question)
    async with Client(address, key=key, ca_file=given.ca, timeout_seconds=given.timeout) as client:
        try:
            deltas = 0
            async with client.stream(question, model=given.model, max_tokens=given.max_tokens, temperature=0) as stream:
                async for text in stream:
                    print(text, end="", flush=True)
                    deltas += 1
                    if deltas == given.stop_after:
                        return  # cancels: the engine stops, and what was delivered is billed
            print(receipt(stream.answer), file=sys.stderr)
        except CallError as error:
            sys.exit("\n".join(explanation(error)))  # which rule or limit, what to do, when to try again


def receipt(answer: Answer) -> str:
    usage, cost = answer.receipt.usage, answer.receipt.cost_micro_usd
    tokens = f"{usage.input_tokens} + {usage.output_tokens} tokens"
    return (
        f"\n{answer.receipt.model}: {tokens}, {cost} micro-dollars, {answer.finish_reason}, "
        f"request {answer.receipt.request_id}"
    )


def explanation(error: CallError) -> Iterator[str]:
    yield f"\n{error.reason}: {error.message}"
    yield from (f"  {each.field}: {each.description}" for each in error.fields)
    yield from (f"  {each.subject}: {each.description}" for each in error.quotas)
    if error.retry_after_seconds is not None:
        yield f"  try again in {error.retry_after_seconds:g} s"
    if error.receipt:
        yield f"  billed: {error.receipt.cost_micro_usd} micro-dollars"
    if error.request_id:
        yield f"  request {error.request_id}"


if __name__ == "__main__":
    caller = {"traceparent": os.environ.get("TRACEPARENT", "")}
    context.attach(TraceContextTextMapPropagator().extract(caller))  # in your program: the span that is current
    router = os.environ.get("TOKENWAY_ROUTER", "127.0.0.1:50051")
    asyncio.run(ask(options(), router, os.environ.get("TOKENWAY_API_KEY", "")))
