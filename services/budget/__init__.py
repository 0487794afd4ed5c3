"""Budget: what may be spent, and what was. No token is delivered that a live lease does not cover."""
