"""The default model and the semantic cache's encoder: converted once, kept outside the repository, then only read."""
