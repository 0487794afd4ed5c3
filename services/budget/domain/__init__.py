"""Money, limits, leases and receipts; pure."""
