"""Aria Cluster's core: what every part agrees on. Imports nothing of ours outside itself."""

from importlib.metadata import version

__version__ = version("ariacluster")
