"""What is asked of a model and which questions are acceptable; pure, the same for every service."""
