"""The tasks that wait for a node, ordered so that a decision costs what it assigns, not what waits.

Tasks that ask for the same (tags, pinned node, the same room on a disk) form a group: when no node can take one of them,
none can take the rest, so the group is left whole. In a group, those of the same origins stand in one line: when an
origin wants to be left alone, so is its line.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from sortedcontainers import SortedDict, SortedList

from .origins import origins_of
from .task import Priority, Task

AGE_MS = 30 * 60_000
"""So much later may a task of the next higher priority come and still go first: urgent ones overtake, and starve nobody."""

DUE_AT_ONCE = 1_000
"""So many tasks whose time has come are let into their lines by one look, the rest by the next: each costs some 30 µs, and a
hundred thousand may be told to begin at the same hour."""

_GRAIN = 4 * 1024 * 1024
"""Room on a disk is set aside in such pieces (bytes), or in larger ones for what is large."""


def turn_of(now: int, priority: Priority) -> int:
    """The place of a task that comes at `now` (ms): smaller is sooner."""
    return now - priority * AGE_MS


class Demand(NamedTuple):
    """What a node must have to take a task. `room`: bytes on its disk, 0 if nobody knows how many; the node that has a part of
    the task already, `home`, needs none."""

    tags: tuple[tuple[str, str], ...]
    node: str | None
    room: int = 0
    home: str | None = None


ANY_NODE = Demand((), None)
"""What most ask for of whose size nothing is known."""


def demand_of(task: Task) -> Demand:
    if not (task.size or task.spec.tags or task.spec.node):
        return ANY_NODE
    room = room_for(task.size)
    return Demand(tuple(sorted(task.spec.tags.items())), task.spec.node, room, task.bytes_on if room else None)


def room_for(size: int) -> int:
    """Bytes that must be free for a file: rounded up by a thirty-second, so that files of about one size ask for the same."""
    piece = max(_GRAIN, 1 << max(0, size.bit_length() - 6))
    return -(-size // piece) * piece


Ticket = tuple[int, int, str]
"""A place in a line: turn, seq and task id. A plain tuple, because the garbage collector need not look at one of those."""

Origins = tuple[str, ...]


def ticket_of(task: Task) -> Ticket:
    return (task.turn, task.seq, task.id)


class Group:
    """The lines of one demand. `heads`: the first of each line, in the order of their turn."""

    def __init__(self) -> None:
        self.lines: dict[Origins, SortedList[Ticket]] = {}
        self.heads: SortedDict[Ticket, Origins] = SortedDict()

    def add(self, origins: Origins, ticket: Ticket) -> None:
        line = self.lines.get(origins)
        if line is None:
            self.lines[origins] = SortedList([ticket])
            self.heads[ticket] = origins
            return
        head = line[0]
        line.add(ticket)
        if ticket < head:
            del self.heads[head]
            self.heads[ticket] = origins

    def discard(self, origins: Origins, ticket: Ticket) -> None:
        line = self.lines[origins]
        if line[0] == ticket:
            del self.heads[ticket]
            if len(line) > 1:
                self.heads[line[1]] = origins
        line.remove(ticket)
        if not line:
            del self.lines[origins]


class PendingQueue:
    """Groups of ready tasks by demand, and the tasks whose `not_before` has not come yet."""

    def __init__(self) -> None:
        self.groups: dict[Demand, Group] = {}
        self._delayed: SortedList[tuple[int, str]] = SortedList()
        self._waiting: dict[str, Task] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Task) -> None:
        self._waiting[task.id] = task
        if task.not_before:
            self._delayed.add((task.not_before, task.id))
        else:
            self._line_up(task)

    def discard(self, task: Task) -> None:
        """Take out the row that was added; no-op if it is not here."""
        if self._waiting.pop(task.id, None) is None:
            return
        if (task.not_before, task.id) in self._delayed:
            self._delayed.remove((task.not_before, task.id))
            return
        demand = demand_of(task)
        group = self.groups[demand]
        group.discard(origins_of(task.spec), ticket_of(task))
        if not group.lines:
            del self.groups[demand]

    def clear(self) -> None:
        """Let go of everything, a row at a time."""
        while self._waiting:
            self._waiting.popitem()
        for group in self.groups.values():
            for line in group.lines.values():
                line.clear()
        self.groups.clear()
        self._delayed.clear()

    @property
    def ready(self) -> bool:
        """Does anybody wait whose time has come?"""
        return bool(self.groups)

    def next_due(self) -> int | None:
        """When the next delayed task may be assigned (ms), if one is delayed."""
        return self._delayed[0][0] if self._delayed else None

    def walk(self, now: int) -> "Walk":
        """A look at who waits as of `now`, in order. Whoever is due stands in its line from then on: a memo, no change."""
        for _ in range(DUE_AT_ONCE):
            if not self._delayed or self._delayed[0][0] > now:
                break
            _, task_id = self._delayed.pop(0)
            self._line_up(self._waiting[task_id])
        return Walk(self.groups)

    def _line_up(self, task: Task) -> None:
        demand = demand_of(task)
        group = self.groups.get(demand)
        if group is None:
            group = self.groups[demand] = Group()
        group.add(origins_of(task.spec), ticket_of(task))


class Place(NamedTuple):
    """A task in the queue, as a walk meets it."""

    ticket: Ticket
    demand: Demand
    origins: Origins

    @property
    def task_id(self) -> str:
        return self.ticket[2]


class Walk:
    """Whoever waits, one after the other. Lines are opened as they are reached, so that it costs what it visits; the queue must
    not change meanwhile."""

    def __init__(self, groups: dict[Demand, Group]) -> None:
        self._groups = groups
        self._heads: dict[Demand, Iterator[tuple[Ticket, Origins]]] = {
            demand: iter(group.heads.items()) for demand, group in groups.items()
        }
        self._open: list[tuple[Ticket, Demand, Origins, Iterator[Ticket] | None]] = []
        for demand in groups:
            self._reach(demand, push=False)
        heapify(self._open)
        self._hopeless: set[Demand] = set()

    def __iter__(self) -> Iterator[Place]:
        """Each is met once; whoever is not followed by `give_up` or `leave` is followed by the next of its line."""
        while self._open:
            ticket, demand, origins, rest = heappop(self._open)
            if demand in self._hopeless:
                continue
            if rest is None:  # the head of a line: the next line of the group may begin before this one ends
                self._reach(demand)
                rest = iter(self._groups[demand].lines[origins])
                next(rest)
            self._left = False
            yield Place(ticket, demand, origins)
            if not self._left and demand not in self._hopeless and (following := next(rest, None)):
                heappush(self._open, (following, demand, origins, rest))

    def give_up(self, demand: Demand) -> None:
        """Nobody can take what asks for this."""
        self._hopeless.add(demand)

    def leave(self) -> None:
        """The rest of this line must wait."""
        self._left = True

    def _reach(self, demand: Demand, *, push: bool = True) -> None:
        if head := next(self._heads[demand], None):
            entry = (head[0], demand, head[1], None)
            if push:
                heappush(self._open, entry)
            else:
                self._open.append(entry)
