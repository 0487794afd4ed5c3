"""The RPCs, and the messages in and out of the domain."""
