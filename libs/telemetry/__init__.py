"""Traces, metrics and logs: their names, and their set-up by the process. Importing it does nothing."""
