"""What the router decides; pure."""
