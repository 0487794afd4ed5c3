"""What may be said to a model and by it: an organisation's policy, for questions and for answers as they stream."""
