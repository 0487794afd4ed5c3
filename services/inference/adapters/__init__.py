"""The engines, and what watches them."""
