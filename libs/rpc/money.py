"""Usage and prices on the wire and off it."""

from __future__ import annotations

from libs.money import Price, Usage, UsageSource
from tokenway.common.v1 import money_pb2 as pb

_PREFIX = "USAGE_SOURCE_"


def usage_to_proto(usage: Usage) -> pb.Usage:
    return pb.Usage(
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        output_tokens=usage.output_tokens,
        source=pb.UsageSource.Value(_PREFIX + usage.source),
    )


def usage_from_proto(message: pb.Usage) -> Usage:
    """A source that a newer version added is read as unspecified; cached input is a part of the input."""
    known = message.source in pb.UsageSource.values()
    source = pb.UsageSource.Name(message.source).removeprefix(_PREFIX) if known else UsageSource.UNSPECIFIED
    cached = min(message.cached_input_tokens, message.input_tokens)
    return Usage(message.input_tokens, cached, message.output_tokens, UsageSource(source))


def price_to_proto(price: Price) -> pb.Price:
    return pb.Price(
        input_micro_usd_per_million_tokens=price.input_micro_usd_per_million_tokens,
        cached_input_micro_usd_per_million_tokens=price.cached_input_micro_usd_per_million_tokens,
        output_micro_usd_per_million_tokens=price.output_micro_usd_per_million_tokens,
        version=price.version,
    )


def price_from_proto(message: pb.Price) -> Price:
    return Price(
        message.input_micro_usd_per_million_tokens,
        message.cached_input_micro_usd_per_million_tokens,
        message.output_micro_usd_per_million_tokens,
        message.version,
    )
