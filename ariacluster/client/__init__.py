"""The one door to a node."""
