"""The proto API over the domain."""
