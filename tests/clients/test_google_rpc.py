"""The small google_rpc.proto of the examples, against Google's own messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from tests.clients.examples import CLIENTS

OURS = CLIENTS / "google_rpc.proto"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> DescriptorPool:
    compiled = tmp_path_factory.mktemp("protos") / "compiled"
    options = (f"--proto_path={OURS.parent}", "--include_imports", f"--descriptor_set_out={compiled}")
    subprocess.run((sys.executable, "-m", "grpc_tools.protoc", *options, OURS.name), check=True)
    return _pool(compiled)


@pytest.mark.parametrize("theirs", [Status, ErrorInfo, BadRequest, QuotaFailure, RetryInfo, RequestInfo])
def test_what_it_names_is_what_google_names(pool: DescriptorPool, theirs: type[Message]) -> None:
    descriptor = theirs.DESCRIPTOR
    ours = fields(pool.FindMessageTypeByName(descriptor.full_name))
    assert ours
    assert ours.items() <= fields(descriptor).items()


def fields(message: Any) -> dict[str, tuple[int, int]]:
    """Number and type by name, those of nested messages too."""
    found = {f"{message.full_name}.{each.name}": (each.number, each.type) for each in message.fields}
    for nested in message.nested_types:
        found |= fields(nested)
    return found


def _pool(compiled: Path) -> DescriptorPool:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(compiled.read_bytes()).file:
        pool.Add(file)
    return pool
