"""The one configuration file: its schema, and its reading with every mistake named at its place."""
