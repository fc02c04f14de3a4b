"""What a member carries from its cluster into another one, as commands. Pure.

The same for a lone founder that found company, for two clusters that are merged, for one that is begun anew because its
majority is lost, and for those who come back to that. Every member may bring its own copy: see `union`.
"""

from collections.abc import Iterator

from .commands import Absorb, Adopt, Bury, Command, Introduce
from .table import TaskTable

BURIED_AT_ONCE = 500
"""Removed ids in one command: 9 KB."""


def carried(table: TaskTable, cluster_id: str) -> Iterator[Command]:
    """All that `table`, of the cluster `cluster_id`, adds to another one. Proposed again, or by another member, it adds
    nothing. Who is a member comes first, so that no row names a stranger; that it is all there comes last."""
    yield from map(Introduce, table.members.values())
    removed = tuple(table.removed)
    for start in range(0, len(removed), BURIED_AT_ONCE):
        yield Bury(removed[start : start + BURIED_AT_ONCE])
    for task_id in table.order.values():
        yield Adopt(table.tasks[task_id])
    closed = table.successor is not None
    for absorbed, whole in (table.absorbed | {cluster_id: closed}).items():
        yield Absorb(absorbed, whole)
