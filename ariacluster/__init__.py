"""Aria Cluster's core: what every part agrees on. Imports nothing of ours outside itself."""

__version__: str


def __getattr__(name: str) -> str:
    """The version is looked up when it is asked for: that takes a tenth of what a command may take to start."""
    if name == "__version__":
        from importlib.metadata import version

        return version("ariacluster")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
