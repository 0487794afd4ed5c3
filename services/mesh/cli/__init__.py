"""`tokenway`: starts the mesh on this machine, and talks to any."""

from services.mesh.cli.app import main

__all__ = ["main"]
