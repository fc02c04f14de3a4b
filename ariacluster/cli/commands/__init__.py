"""One family of verbs a file."""
