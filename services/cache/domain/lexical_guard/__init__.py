"""Do two questions that an encoder takes for one ask the same? Rules of English, and no model."""
