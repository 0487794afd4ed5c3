"""Runs the four services and their Valkey on one machine: all of them, or none."""
