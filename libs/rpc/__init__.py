"""Remote calls: a handler port that knows no server library, one chain of middleware, one channel profile, one error table."""
