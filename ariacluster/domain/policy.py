"""How the cluster goes about its work, as people set it: replicated, so that every leader goes about it alike."""

from enum import StrEnum

import msgspec

from .member import Member

MIN_FREE = 1_000_000_000
"""Bytes that stay free on every disk if nobody says otherwise: a node must be able to keep its own log."""


class Strategy(StrEnum):
    """By what a node is picked of those that could take a task; the names are the original Aria Cluster's."""

    LEAST_LOADED = "least_loaded"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    TAGS = "tags"


MAX_ATTEMPTS = 5
"""Attempts that a task has if nobody says otherwise."""

FIRST_PAUSE_MS = 2_000
LONGEST_PAUSE_MS = 5 * 60_000
"""Before the second attempt, and before any, if nobody says otherwise."""


class Policy(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`origin_connections`: to any one origin over all nodes, 0 for no limit; `origin_limits`: to these origins
    (`host` or `host:port`) instead. `min_free`: bytes that stay free on the disk of every node. `max_attempts`: of a task that
    does not say. `first_pause`, `longest_pause`: between two attempts (ms).

    `node_timeout` and `forget_after` (seconds, see `attendance`) and `slots` are None where each node goes by its own settings.
    """

    strategy: Strategy = Strategy.LEAST_LOADED
    origin_connections: int = 0
    origin_limits: dict[str, int] = {}
    min_free: int = MIN_FREE
    max_attempts: int = MAX_ATTEMPTS
    first_pause: int = FIRST_PAUSE_MS
    longest_pause: int = LONGEST_PAUSE_MS
    node_timeout: float | None = None
    forget_after: float | None = None
    slots: int | None = None

    def limit_of(self, origin: str) -> int:
        """Connections to `origin` (`host:port`) over all nodes; 0: no limit."""
        host, _, _ = origin.rpartition(":")
        return self.origin_limits.get(origin, self.origin_limits.get(host, self.origin_connections))

    def slots_of(self, member: Member) -> int:
        """How many downloads it runs at a time: as it was tuned, else as the cluster says, else as its own settings do."""
        if member.witness or (member.tuning.slots is None and self.slots is None):
            return member.slots
        return self.slots if member.tuning.slots is None else member.tuning.slots  # type: ignore[return-value]

    def changed(self, before: "Policy") -> list[str]:
        """The names of what is another than it was."""
        return [name for name in self.__struct_fields__ if getattr(self, name) != getattr(before, name)]
