"""The tasks in other orders than that of their submission, and their words: made when somebody asks, kept while somebody does.

Rows are named by their seq, which is for life. What is made here is derived from this node's copy of the table and follows
every change of it. Whatever takes long is done in small parts, so that others have their turn.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

from sortedcontainers import SortedList

from ariacluster.domain.names import name_of
from ariacluster.domain.table import Applied, Change
from ariacluster.domain.task import Task, TaskState
from ariacluster.wire.showing import redact
from ariacluster_node.ports import Clock

from .replica import Replica
from .roster import Roster

AT_ONCE = 500
"""Rows that are read into an order before others have their turn: about 3 ms."""

PART = 8_192
"""Seqs that are looked through before others have their turn: 1 to 3 ms."""

KEPT_S = 600.0
"""Seconds for which an order is kept that nobody asks for: it costs some 20 MB with 100,000 tasks, and each change a little."""

T = TypeVar("T")

Key = tuple[str, int] | tuple[int, int]


def _name(task: Task) -> Key:
    return (name_of(task).casefold(), task.seq)


def _size(task: Task) -> Key:
    return (task.result.total_bytes if task.result else task.size, task.seq)


def _priority(task: Task) -> Key:
    return (int(task.spec.priority), task.seq)


def _updated(task: Task) -> Key:
    return (task.updated_at, task.seq)


KEYS: dict[str, Callable[[Task], Key]] = {"name": _name, "size": _size, "priority": _priority, "updated": _updated}
"""What a row says of its place in an order; a change of the row tells the old place and the new one."""


def words_of(task: Task) -> str:
    """What a search looks through, in one case. Not a password: who may search need not know it."""
    return "\n".join((name_of(task), *(redact(url) if "@" in url else url for url in task.spec.urls))).casefold()


class Derived:
    """Something that is made of all rows and follows their changes. While it is made, rows that are not reached yet do not
    matter: they are read later, as they are then."""

    def __init__(self, replica: Replica, clock: Clock) -> None:
        self._replica = replica
        self._clock = clock
        self._making = asyncio.Lock()
        self._age = 0  # of the table: how often it was replaced
        self._whole = False
        self._used = 0.0

    async def made(self) -> None:
        """Return once it has every row."""
        self._used = self._clock.monotonic()
        async with self._making:
            while not self._whole:
                await self._make()

    def follow(self, applied: Applied | None) -> None:
        if applied is None:
            self._forget()
        elif self._clock.monotonic() - self._used > KEPT_S:
            if self._used:
                self._forget()
                self._used = 0.0
        else:
            for change in applied.changes:
                self.change(change)

    async def _make(self) -> None:
        age, table = self._age, self._replica.table
        for part in parts(list(table.order), AT_ONCE):
            for seq in part:
                if (task_id := table.order.get(seq)) is not None:
                    self.read(table.tasks[task_id])
            await asyncio.sleep(0)
            if age != self._age:
                return
        self._whole = True

    def _forget(self) -> None:
        self._age += 1
        self._whole = False
        self.drop()

    def read(self, task: Task) -> None:
        """Take in a row, if it is not in it already."""
        raise NotImplementedError

    def change(self, change: Change) -> None:
        raise NotImplementedError

    def drop(self) -> None:
        raise NotImplementedError


class Order(Derived):
    """All rows, sorted by a key."""

    def __init__(self, replica: Replica, clock: Clock, key: Callable[[Task], Key]) -> None:
        super().__init__(replica, clock)
        self._key = key
        self._sorted: SortedList[Key] = SortedList()

    def read(self, task: Task) -> None:
        key = self._key(task)
        if key not in self._sorted:
            self._sorted.add(key)

    def change(self, change: Change) -> None:
        before = self._key(change.before) if change.before else None
        after = self._key(change.after) if change.after else None
        if before != after:
            if before:
                self._sorted.discard(before)
            if after:
                self._sorted.add(after)

    def drop(self) -> None:
        self._sorted = SortedList()

    async def seqs(self) -> list[int]:
        await self.made()
        found: list[int] = []
        for part in parts(list(self._sorted), PART):
            found += [seq for _, seq in part]
            await asyncio.sleep(0)
        return found


class Words(Derived):
    """The words of every row, by its seq."""

    def __init__(self, replica: Replica, clock: Clock) -> None:
        super().__init__(replica, clock)
        self.by_seq: dict[int, str] = {}

    def read(self, task: Task) -> None:
        self.by_seq[task.seq] = words_of(task)

    def change(self, change: Change) -> None:
        before, after = change
        if after is None:
            if before is not None:
                self.by_seq.pop(before.seq, None)
        elif before is None or before.spec is not after.spec or before.result is not after.result:
            self.read(after)

    def drop(self) -> None:
        self.by_seq = {}


class Catalogue:
    """Orders and words of this node's copy of the table."""

    def __init__(self, replica: Replica, roster: Roster, clock: Clock) -> None:
        self._replica = replica
        self._roster = roster
        self._orders = {name: Order(replica, clock, key) for name, key in KEYS.items()}
        self._words = Words(replica, clock)
        self.version = 0
        """Grows with every change of the table."""
        replica.watch(self._on_applied)

    async def sorted_by(self, sort: str) -> list[int]:
        """Every row by one of `routes.SORTS`, the smallest first; those that are equal in the order of submission."""
        table = self._replica.table
        match sort:
            case "created":
                return list(table.order)
            case "status":
                return list(chain.from_iterable(table.by_state[state] for state in TaskState))
            case "speed":
                return await self._live({seq: speed for seq, (speed, _) in self._running().items() if speed}, ())
            case "progress":
                done = list(table.by_state[TaskState.COMPLETED])
                return await self._live({seq: share for seq, (_, share) in self._running().items() if share}, done)
        return await self._orders[sort].seqs()

    async def words(self) -> dict[int, str]:
        """What is to be searched, by seq. It follows the table while it is read: a row may be missing."""
        await self._words.made()
        return self._words.by_seq

    def _running(self) -> dict[int, tuple[int, float]]:
        """Speed and share of what is done, of those of which a node tells anything."""
        tasks = self._replica.table.tasks
        return {
            task.seq: (progress.speed if task.state is TaskState.DOWNLOADING else 0, progress.completed / total)
            for node, (report, _) in self._roster.heard().items()
            for task_id, progress in report.tasks.items()
            if (task := tasks.get(task_id)) is not None
            and (task.node, task.attempt) == (node, progress.attempt)
            and task.result is None
            and (total := progress.total or task.size or 1)
        }

    async def _live(self, values: dict[int, int] | dict[int, float], last: Sequence[int]) -> list[int]:
        """Those that have no value first, then those that have one, sorted by it, then `last`."""
        apart = values.keys() | set(last)
        found: list[int] = []
        for part in parts(list(self._replica.table.order), PART):
            found += [seq for seq in part if seq not in apart]
            await asyncio.sleep(0)
        return [*found, *sorted(values, key=lambda seq: (values[seq], seq)), *last]

    def _on_applied(self, applied: Applied | None) -> None:
        self.version += 1
        self._words.follow(applied)
        for order in self._orders.values():
            order.follow(applied)


def parts(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]
