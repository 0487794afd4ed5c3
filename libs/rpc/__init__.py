"""Remote calls: a handler port that knows no server library, one middleware chain, one channel profile, one error table."""
