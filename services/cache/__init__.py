"""Answers that may be reused: what an organisation asks again is not generated again, and never answered wrong."""
