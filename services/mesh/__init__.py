"""The mesh on one machine: starts the four services together, and talks to them as any client would."""
