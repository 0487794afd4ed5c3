"""What may be reused, by which key, and how: pure."""
