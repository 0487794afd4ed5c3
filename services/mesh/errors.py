"""What goes wrong on this side of the router: the mesh cannot start, or is not there."""

from __future__ import annotations


class MeshError(Exception):
    """A failure to start, to keep running or to find the mesh; its text says what to do, in one line."""


class ServiceFailedError(MeshError):
    """A service did not start, or ended by itself. `last_lines` are the end of its log."""

    def __init__(self, message: str, last_lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.last_lines = last_lines


class InterruptedMeshError(MeshError):
    """A signal ended the mesh while it was starting or in use."""
