"""Remote calls: a handler port that knows no server library, one chain, one channel profile, one error table."""
