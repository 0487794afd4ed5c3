"""A client of the router: what any program in any language can do, and no more."""
