"""The default model, SmolLM2-135M-Instruct: converted once, kept outside the repository, then only read."""
