"""A delta of the proto API, as the domain sees it: something that holds tokens and can be cut between its pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from typing import Self

from libs.generation.channel import REASONING, TEXT, Channel, ChannelKind, tool_arguments
from tokenway.common.v1.generation_pb2 import Delta


@dataclass(frozen=True, slots=True)
class ProtoDelta:
    """Wraps the message; it is passed on as it came unless it has to be cut."""

    message: Delta
    tokens: int

    @classmethod
    def of(cls, message: Delta) -> Self:
        """A piece that nobody counted holds a token at least: what is delivered is never free."""
        uncounted = max(0, len(message.text) - len(message.token_counts))
        return cls(message, sum(message.token_counts) + uncounted)

    def first(self, tokens: int) -> Self | None:
        """What has no count per piece, tool calls and reasoning, is delivered whole or not at all."""
        message = self.message
        pieces = sum(total <= tokens for total in accumulate(message.token_counts))
        uncounted = len(message.text) > len(message.token_counts)
        if not pieces or uncounted or message.tool_calls or message.reasoning:
            return None
        part = Delta(text=message.text[:pieces], token_counts=message.token_counts[:pieces])
        kept = sum(part.token_counts)
        # One entry a token, where they were asked for.
        part.logprobs.extend(message.logprobs[:kept])
        return type(self)(part, kept)

    def pieces(self) -> tuple[tuple[object, ...], ...]:
        """Texts with their tokens, reasoning, tool calls. Likeliest tokens are left out: they belong to texts."""
        message = self.message
        texts = zip(message.text, chain(message.token_counts, repeat(1)), strict=False)
        calls = (each.SerializeToString(deterministic=True) for each in message.tool_calls)
        return tuple(texts), tuple(message.reasoning), tuple(calls)

    def without_first(self, *counts: int) -> Self | None:
        """The same without so many leading texts, pieces of reasoning and of tool calls; None where nothing is left."""
        texts, reasoning, calls = counts
        message = Delta()
        message.CopyFrom(self.message)
        del message.logprobs[: sum(message.token_counts[:texts])]
        del message.text[:texts], message.token_counts[:texts]
        del message.reasoning[:reasoning], message.tool_calls[:calls]
        return type(self).of(message) if message.ByteSize() else None

    def rewritten(self, rewrite: Callable[[Channel, str], str]) -> Self:
        """The same tokens and as many pieces, each as `rewrite` returns it. Likeliest tokens, the same text once more
        and often told unasked by providers, are left out.
        """
        given = self.message
        message = Delta(
            text=[rewrite(TEXT, each) for each in given.text],
            token_counts=given.token_counts,
            reasoning=[rewrite(REASONING, each) for each in given.reasoning],
            tool_calls=given.tool_calls,
        )
        for call in message.tool_calls:
            call.arguments_json = rewrite(tool_arguments(call.index), call.arguments_json)
        return type(self)(message, self.tokens)

    def without_tokens(self, pieces: Mapping[Channel, str]) -> Self:
        """Another delta, of these pieces alone, that counts nothing."""
        message = Delta()
        for channel, piece in pieces.items():
            match channel.kind:
                case ChannelKind.TEXT:
                    message.text.append(piece)
                    message.token_counts.append(0)
                case ChannelKind.REASONING:
                    message.reasoning.append(piece)
                case ChannelKind.TOOL_ARGUMENTS:
                    message.tool_calls.add(index=channel.index, arguments_json=piece)
        return type(self)(message, 0)
