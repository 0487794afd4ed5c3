"""Redis and Prometheus, one file each."""
