"""What the commands of administrators have in common: how they ask, and how they show what they get."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.mesh.cli.json_output import json_option, print_json
from services.mesh.cli.place import router_address, router_options
from services.mesh.client.admin import AdminClient, administering
from services.mesh.client.router import RouterAddress
from services.mesh.state_directory import StateDirectory

Command = TypeVar("Command", bound=Callable[..., Any])
Answer = TypeVar("Answer")


def admin_options(command: Command) -> Command:
    """Adds --json and the options of whatever talks to a router; the command gets `as_json` and what `place` takes."""
    return json_option("One JSON object a line.")(router_options(command))


def place(*, state: StateDirectory, router: str | None, ca_file: Path | None, key_file: Path | None) -> RouterAddress:
    """The router that the options name."""
    return router_address(state, router=router, ca_file=ca_file, key_file=key_file)


def ask(router: RouterAddress, question: Callable[[AdminClient], Awaitable[Answer]]) -> Answer:
    """The router's answer."""

    async def asked() -> Answer:
        async with administering(router) as client:
            return await question(client)

    return asyncio.run(asked())


def print_message(message: Message) -> None:
    """The message as proto's JSON, in one line; 0 and false are seen."""
    fields = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    print_json(fields)


def moment(message: Message, field: str) -> str:
    """Such as `2026-11-22 23:00 UTC`; `-` where it is absent."""
    if not message.HasField(field):
        return "-"
    timestamp: Timestamp = getattr(message, field)
    return f"{timestamp.ToDatetime():%Y-%m-%d %H:%M} UTC"
