"""The public API: chooses a model, reuses an answer where that is safe, keeps to the budget, streams."""
