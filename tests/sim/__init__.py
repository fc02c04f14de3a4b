"""Many nodes in one process, on a virtual clock: see README.md beside this file."""
