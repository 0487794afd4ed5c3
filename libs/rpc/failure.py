"""A call's failed end, after the error table and before any server library."""

from __future__ import annotations

from google.rpc.status_pb2 import Status


class RpcFailureError(Exception):
    """Ends the call with this status. Only `middleware.errors` raises it; what is outside sees the status as sent."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status
