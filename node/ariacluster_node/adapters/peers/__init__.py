"""Other nodes, over their API."""
