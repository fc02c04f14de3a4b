"""The tasks that wait for a node, ordered so that a decision costs what it assigns, not what waits.

Tasks with the same demands (required tags, pinned node) stand in one line: when no node can take its head, none can
take the rest of it, so the line is left whole.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sortedcontainers import SortedList

from .task import Task


class Demand(NamedTuple):
    """What a node must fulfil to take a task."""

    tags: tuple[tuple[str, str], ...]
    node: str | None


def demand_of(task: Task) -> Demand:
    return Demand(tuple(sorted(task.spec.tags.items())), task.spec.node)


Ticket = tuple[int, int, str]
"""A place in a line: urgency, seq and task id; urgent first, then first come first served. A plain tuple, because the
garbage collector need not look at one of those."""


def ticket_of(task: Task) -> Ticket:
    return (-task.spec.priority, task.seq, task.id)


class PendingQueue:
    """Lines of ready tasks by demand, and the tasks whose `not_before` has not come yet."""

    def __init__(self) -> None:
        self._lines: dict[Demand, SortedList[Ticket]] = {}
        self._delayed: SortedList[tuple[int, str]] = SortedList()
        self._waiting: dict[str, Task] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Task) -> None:
        self._waiting[task.id] = task
        if task.not_before:
            self._delayed.add((task.not_before, task.id))
        else:
            self._lines.setdefault(demand_of(task), SortedList()).add(ticket_of(task))

    def discard(self, task: Task) -> None:
        """Take out the row that was added; no-op if it is not here."""
        if self._waiting.pop(task.id, None) is None:
            return
        if (task.not_before, task.id) in self._delayed:
            self._delayed.remove((task.not_before, task.id))
            return
        demand = demand_of(task)
        line = self._lines[demand]
        line.remove(ticket_of(task))
        if not line:
            del self._lines[demand]

    def clear(self) -> None:
        """Let go of everything, a row at a time."""
        while self._waiting:
            self._waiting.popitem()
        for line in self._lines.values():
            line.clear()
        self._lines.clear()
        self._delayed.clear()

    def next_due(self) -> int | None:
        """When the next delayed task may be assigned (ms), if one is delayed."""
        return self._delayed[0][0] if self._delayed else None

    def lines(self, now: int) -> dict[Demand, Iterator[Ticket]]:
        """The lines as of `now`, each from its head. Whoever is due stays in its line from then on: a memo, no change."""
        while self._delayed and self._delayed[0][0] <= now:
            _, task_id = self._delayed.pop(0)
            task = self._waiting[task_id]
            self._lines.setdefault(demand_of(task), SortedList()).add(ticket_of(task))
        return {demand: iter(line) for demand, line in self._lines.items()}
