"""Which handler answers which RPC: a servicer's methods, matched with the proto that it serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import Message

from libs.errors import Reason, TokenwayError
from libs.rpc.call import Call, Handler
from libs.rpc.method import Method, Shape


@dataclass(frozen=True, slots=True)
class Route:
    """One RPC and its handler."""

    method: Method[Any, Any]
    handler: Handler
    # Lives until its caller leaves, so a draining server does not wait for it.
    endless: bool = False


def routes(
    file: FileDescriptor,
    service: str,
    *servicers: object,
    not_served: frozenset[str] = frozenset(),
    endless: frozenset[str] = frozenset(),
) -> tuple[Route, ...]:
    """A route for every RPC of a service, by the method of the same name of one of the servicers.

    What the proto defines and nobody serves yet has to be named in `not_served`, and answers NOT_SERVED; a TypeError
    names what is missing or said twice, at start and not at the first call.
    """
    described = file.services_by_name[service]
    handlers: dict[str, Handler] = {}
    for rpc in described.methods:
        served: list[Handler] = [getattr(each, rpc.name) for each in servicers if hasattr(each, rpc.name)]
        if len(served) + (rpc.name in not_served) != 1:
            raise TypeError(f"{described.full_name}.{rpc.name} must be either served, once, or named in not_served")
        handlers[rpc.name] = served[0] if served else _not_served(rpc)
    return tuple(Route(_method(each), handlers[each.name], each.name in endless) for each in described.methods)


def _method(described: MethodDescriptor) -> Method[Any, Any]:
    return Method(
        service=described.containing_service.full_name,
        name=described.name,
        request=message_factory.GetMessageClass(described.input_type),
        response=message_factory.GetMessageClass(described.output_type),
        shape=Shape((described.client_streaming, described.server_streaming)),
    )


def _not_served(described: MethodDescriptor) -> Handler:
    path = f"/{described.containing_service.full_name}/{described.name}"
    error = f"{path} is defined but not served yet"

    async def unary(request: object, call: Call) -> Message:
        raise TokenwayError(Reason.NOT_SERVED, error, metadata={"method": path})

    async def stream(request: object, call: Call) -> AsyncIterator[Message]:
        await unary(request, call)
        yield message_factory.GetMessageClass(described.output_type)()  # never reached; makes this a generator

    return stream if described.server_streaming else unary
