"""What is large in a real cluster is small here, so that a short schedule meets it: segments, pieces, batches."""

import random

from ariacluster_node.adapters.raft import core, leading
from ariacluster_node.adapters.raft.store import snapshots, wal
from ariacluster_node.adapters.raft.wire import links

_SIZES = (
    (wal, "SEGMENT_BYTES", (2 * 1024, 6 * 1024, 30 * 1024)),
    (snapshots, "STEP_BYTES", (200, 600, 4000)),
    (snapshots, "SYNC_BYTES", (500, 1500, 10_000)),
    (leading, "PIECE_BYTES", (200, 500, 4000)),
    (leading, "BATCH_BYTES", (200, 1500, 10_000)),
    (core, "MAX_APPLIED", (5, 20, 1000)),
    (links, "CONGESTED_BYTES", (4 * 1024, 16 * 1024)),
)
"""Bytes, or entries: one of these in each world."""


def roll(dice: random.Random) -> None:
    """Sets them in the modules that use them."""
    for module, name, choices in _SIZES:
        assert hasattr(module, name)
        setattr(module, name, dice.choice(choices))
