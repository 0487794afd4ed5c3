"""The embedded trace store: receives spans over OTLP, keeps the newest traces, prints a request's tree."""
