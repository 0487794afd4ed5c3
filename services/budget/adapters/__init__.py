"""Redis and Prometheus, each behind a port."""
