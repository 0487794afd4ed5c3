"""The services and stores that the router calls."""
