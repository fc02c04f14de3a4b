"""What nodes have of tasks that are no longer theirs, and that somebody has yet to fetch: until then they are not empty."""

from collections import Counter

from ariacluster.domain.table import Applied
from ariacluster.domain.task import ASSIGNED, Task, TaskState

from .replica import Replica

UNFINISHED = (TaskState.PENDING, *sorted(ASSIGNED))
"""Those that go on by themselves. What a person paused, or what failed, is not waited for."""


class Leftovers:
    """Counts them. Asked for the first time it goes through the table once; from then on it costs what changes."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._counts: Counter[str] | None = None
        replica.watch(self._on_applied)

    def on(self, node: str) -> int:
        """How many tasks have their bytes on `node` and go on elsewhere."""
        if self._counts is None:
            table = self._replica.table
            rows = (table.tasks[task_id] for state in UNFINISHED for task_id in table.by_state[state].values())
            self._counts = Counter(where for task in rows if (where := _left_on(task)))
        return self._counts[node]

    def _on_applied(self, applied: Applied | None) -> None:
        if applied is None:
            self._counts = None
        elif self._counts is not None:
            for before, after in applied.changes:
                if before is not None and (where := _left_on(before)):
                    self._counts[where] -= 1
                if after is not None and (where := _left_on(after)):
                    self._counts[where] += 1


def _left_on(task: Task) -> str | None:
    return task.bytes_on if task.state in UNFINISHED and task.bytes_on != task.assigned_to else None
