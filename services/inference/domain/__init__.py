"""What generating an answer means, whatever engine does it."""
