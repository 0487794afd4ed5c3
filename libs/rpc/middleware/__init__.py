"""What surrounds every call, each piece once for all four shapes."""
