"""What more than one service needs; knows nothing of any service."""
