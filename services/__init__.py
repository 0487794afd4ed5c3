"""The processes of the mesh: each its own, none importing another."""
