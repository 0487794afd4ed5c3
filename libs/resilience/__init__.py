"""Trying again, as data."""
