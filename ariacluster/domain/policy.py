"""How the cluster goes about its work, as people set it: replicated, so that every leader goes about it alike."""

from enum import StrEnum

import msgspec

MIN_FREE = 1_000_000_000
"""Bytes that stay free on every disk if nobody says otherwise: a node must be able to keep its own log."""


class Strategy(StrEnum):
    """By what a node is picked of those that could take a task; the names are the original Aria Cluster's."""

    LEAST_LOADED = "least_loaded"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    TAGS = "tags"


class Policy(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`origin_connections`: to any one origin over all nodes, 0 for no limit; `origin_limits`: to these origins
    (`host` or `host:port`) instead. `min_free`: bytes that stay free on the disk of every node."""

    strategy: Strategy = Strategy.LEAST_LOADED
    origin_connections: int = 0
    origin_limits: dict[str, int] = {}
    min_free: int = MIN_FREE

    def limit_of(self, origin: str) -> int:
        """Connections to `origin` (`host:port`) over all nodes; 0: no limit."""
        host, _, _ = origin.rpartition(":")
        return self.origin_limits.get(origin, self.origin_limits.get(host, self.origin_connections))
