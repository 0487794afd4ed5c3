"""What an RPC is, read from its descriptor, so that server and client cannot disagree about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Shape(Enum):
    """Which sides stream."""

    UNARY_UNARY = (False, False)
    UNARY_STREAM = (False, True)
    STREAM_UNARY = (True, False)
    STREAM_STREAM = (True, True)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One RPC: its service's full name, its own name, its messages and its shape."""

    service: str
    name: str
    request: type[Request]
    response: type[Response]
    shape: Shape

    @property
    def path(self) -> str:
        """As on the wire: `/package.Service/Name`."""
        return f"/{self.service}/{self.name}"


def method(
    file: FileDescriptor, service: str, name: str, request: type[Request], response: type[Response]
) -> Method[Request, Response]:
    """The RPC `service.name` of a proto file; a TypeError if the proto says otherwise."""
    described = file.services_by_name[service].methods_by_name[name]
    declared = (described.input_type.full_name, described.output_type.full_name)
    given = (request.DESCRIPTOR.full_name, response.DESCRIPTOR.full_name)
    if declared != given:
        raise TypeError(f"{service}.{name} takes and gives {declared}, not {given}")
    shape = Shape((described.client_streaming, described.server_streaming))
    return Method(described.containing_service.full_name, name, request, response, shape)
