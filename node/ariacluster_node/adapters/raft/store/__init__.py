"""What lies on disk: the log in segments, and snapshots beside it."""
