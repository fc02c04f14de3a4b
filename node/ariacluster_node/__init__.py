"""The daemon: one process a machine. `README.md` beside this package says how it thinks."""
