"""What the table holds: rows and members, with the indexes that keep decisions cheap. Every change of a row goes through `put`.

Rows are frozen, so `before` and `after` of a change can be handed around freely.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from sortedcontainers import SortedDict

from .commands import Outcome, Refusal
from .formation import Membership
from .history import History, Kind, Note
from .identity import identities
from .member import Member
from .origins import Origin, origins_of, wanted_connections
from .policy import Policy
from .queue import PendingQueue
from .task import MOVES, Task, TaskSpec, TaskState

REMEMBERED_REMOVALS = 65_536
"""How many removed ids, at least, are refused for a new task. A node may not have cleared away yet what the old one left,
and would take it for the new one's."""

FORGOTTEN_AT_ONCE = 4096
"""The oldest go in bunches: a dict finds its first key only by passing over all that were deleted before it. (It is no
`OrderedDict` because a snapshot copies it on the event loop: a dict of 65,536 takes 0.2 ms, the other 7 ms.)"""


NOTHING: dict[str, str] = {}

OVER = frozenset({TaskState.FAILED, TaskState.CANCELED})
"""States of tasks that stand in nobody's way."""


class Change(NamedTuple):
    """A task row before and after; None where there was or is none."""

    before: Task | None
    after: Task | None


class Rows:
    """Every task and member of the cluster."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.members: dict[str, Member] = {}
        self.policy = Policy()
        self.origins: dict[str, Origin] = {}
        """Those that asked for fewer requests, by `host:port`."""
        self.next_seq = 1
        self.latest = 0
        """The latest time (ms) at which a task came: turns never run backwards, whatever the clocks of the nodes do."""
        self.recent: dict[str, tuple[Outcome, ...]] = {}
        self.removed: dict[str, None] = {}
        self.absorbed: dict[str, bool] = {}
        """Ids of the clusters that are one with this one now, and whether all that they had is here."""
        self.successor: Membership | None = None
        """The cluster that this one dissolves into. With it the table is closed."""
        self.history = History()
        self.term = 0
        """The latest in which a leader has said that it leads."""
        self.language = 1
        """The newest version of commands that was ever applied: who does not understand it cannot hold this table."""
        # Indexes: derived, never replicated.
        self.queue = PendingQueue()
        self.by_state: dict[TaskState, SortedDict[int, str]] = {state: SortedDict() for state in TaskState}
        self.order: SortedDict[int, str] = SortedDict()
        self._assigned: dict[str, set[str]] = {}
        self._idle: dict[str, SortedDict[int, str]] = {}
        self._expected: dict[str, int] = {}
        self._unsized: dict[str, int] = {}
        self._connections: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self._fetched: dict[int, int | tuple[int, ...]] = {}
        """By the key of what it fetches, the seq of each task that has not failed: mostly one, and no tuple then."""
        self.assignments = 0
        """How many there were since this copy of the table began; it need not be the same on every node, as `given_to`."""
        self._changes: list[Change] = []
        self._members_changed = False
        self._notes: list[Note] = []

    # -- reading ------------------------------------------------------------------------------------------------

    def assigned_to(self, node: str) -> Iterator[Task]:
        """The tasks that `node` should be working on."""
        return (self.tasks[task_id] for task_id in sorted(self._assigned.get(node, ())))

    def idle_at(self, node: str) -> Iterator[Task]:
        """Of those, the ones that it has not begun, the youngest first."""
        idle = self._idle.get(node)
        return (self.tasks[task_id] for task_id in reversed(idle.values())) if idle else iter(())

    def load_of(self, node: str) -> int:
        """How many tasks `node` has been given and not finished."""
        return len(self._assigned.get(node, ()))

    def idle_count(self, node: str) -> int:
        """How many of them it has not begun."""
        return len(self._idle.get(node, ()))

    def expected_on(self, node: str) -> int:
        """Bytes that the tasks of `node` will have when they are whole, as far as their sizes are known."""
        return self._expected.get(node, 0)

    def unsized_on(self, node: str) -> int:
        """How many of them have a size that nobody knows."""
        return self._unsized.get(node, 0)

    def connections_to(self, origin: str) -> int:
        """How many connections all nodes together may have open to `origin` by now."""
        return self._connections.get(origin, 0)

    def given_to(self, node: str) -> int:
        """Which of the `assignments` was the last that went to `node`; 0: none."""
        return self._given.get(node, 0)

    def twin_of(self, spec: TaskSpec) -> Task | None:
        """The first task that fetches the same and has neither failed nor been canceled, if one does."""
        found = None
        for key, identity in identities(spec).items():
            seqs = self._fetched.get(key, ())
            for seq in (seqs,) if isinstance(seqs, int) else seqs:
                task = self.tasks[self.order[seq]]
                if (found is None or seq < found.seq) and identities(task.spec).get(key) == identity:
                    found = task
        return found

    def name_of(self, node: str) -> str:
        """What people call it; its id if it is no member."""
        member = self.members.get(node)
        return member.name if member else node

    def busy_nodes(self) -> list[str]:
        return sorted(self._assigned)

    # -- writing ------------------------------------------------------------------------------------------------

    def put(self, task: Task) -> None:
        """Write a row and keep the indexes right."""
        before = self.tasks.get(task.id)
        if before is not None:
            self._unindex(before)
            self._index(task)
            self._follow(before, task)
        else:
            self.load(task)
        if task.assigned_to is not None and (before is None or before.attempt != task.attempt):
            self.assignments += 1
            self._given[task.assigned_to] = self.assignments
        self._changes.append(Change(before, task))

    def load(self, task: Task) -> None:
        """Write a row that is not there, as when a saved table is read."""
        _share(task.spec)
        self._index(task)
        self.order[task.seq] = task.id
        if task.state not in OVER:
            self._fetches(task)

    def _index(self, task: Task) -> None:
        self.tasks[task.id] = task
        self.by_state[task.state][task.seq] = task.id
        if task.state is TaskState.PENDING:
            self.queue.add(task)
        if (node := task.assigned_to) is not None:
            self._assigned.setdefault(node, set()).add(task.id)
            if task.state is TaskState.QUEUED:
                self._idle.setdefault(node, SortedDict())[task.seq] = task.id
            _count(self._expected, node, task.size)
            _count(self._unsized, node, not task.size)
            for origin in origins_of(task.spec):
                _count(self._connections, origin, task.connections or wanted_connections(task.spec))

    def drop(self, task: Task) -> None:
        """Take a row off; its id is not for another one soon."""
        self._unindex(task)
        if task.state not in OVER:
            self._fetches_no_more(task)
        del self.tasks[task.id]
        del self.order[task.seq]
        self.note_removed(task.id)
        self._changes.append(Change(task, None))

    def note_removed(self, task_id: str) -> None:
        self.removed[task_id] = None
        forget(self.removed, REMEMBERED_REMOVALS)

    def put_member(self, member: Member) -> None:
        """Write down a member, if anything about it is new."""
        if self.members.get(member.id) != member:
            self.members[member.id] = member
            self._members_changed = True

    def drop_member(self, node: str) -> None:
        del self.members[node]
        self._members_changed = True

    def note(self, kind: Kind, node: str = "", detail: str = "") -> None:
        """Something happened to the cluster or one of its nodes: for the history, once the proposal is applied."""
        self._notes.append(Note(kind, node=node, place=self.name_of(node) if node else "", detail=detail))

    def clear(self) -> None:
        """Let go of everything, a row at a time: of a table that nobody uses any more, in a thread."""
        self.queue.clear()
        while self.tasks:
            self.tasks.popitem()
        while self.recent:
            self.recent.popitem()

    def move(self, task: Task, name: str, at: int, **fields: Any) -> Outcome:
        """Make a legal move, or refuse it with the task's story."""
        legal = MOVES[name]
        if task.state not in legal.sources:
            return Refusal("illegal_move", f"Task {task.id} is {task.state}; {name} works only on {_names(name)}.")
        self.put(msgspec.structs.replace(task, state=legal.target, updated_at=at, **fields))
        return None

    def find(self, task_id: str) -> Task | Refusal:
        task = self.tasks.get(task_id)
        return task if task is not None else Refusal("no_such_task", f"There is no task {task_id}.")

    def current(self, task_id: str, attempt: int) -> Task | Refusal:
        """The task, if `attempt` is the one that runs now: the fence against nodes that were given up."""
        task = self.find(task_id)
        if isinstance(task, Task) and (task.attempt != attempt or task.assigned_to is None):
            return self.over(task, attempt)
        return task

    @staticmethod
    def over(task: Task, attempt: int) -> Refusal:
        """To whoever speaks of an attempt that is no more."""
        return Refusal("stale_attempt", f"Task {task.id} is {task.state} at attempt {task.attempt}; {attempt} is over.")

    def _follow(self, before: Task, after: Task) -> None:
        """Of the same row: who fetches what, if that is another thing now."""
        same = before.spec is after.spec or before.spec.urls == after.spec.urls
        if same and (before.state in OVER) == (after.state in OVER):
            return
        if before.state not in OVER:
            self._fetches_no_more(before)
        if after.state not in OVER:
            self._fetches(after)

    def _fetches(self, task: Task) -> None:
        for key in identities(task.spec):
            known = self._fetched.get(key, ())
            others = (known,) if isinstance(known, int) else known
            self._fetched[key] = tuple(sorted((*others, task.seq))) if others else task.seq

    def _fetches_no_more(self, task: Task) -> None:
        for key in identities(task.spec):
            known = self._fetched[key]
            left = () if isinstance(known, int) else tuple(seq for seq in known if seq != task.seq)
            if left:
                self._fetched[key] = left[0] if len(left) == 1 else left
            else:
                del self._fetched[key]

    def _unindex(self, task: Task) -> None:
        del self.by_state[task.state][task.seq]
        if task.state is TaskState.PENDING:
            self.queue.discard(task)
        if (node := task.assigned_to) is not None:
            mine = self._assigned[node]
            mine.discard(task.id)
            if not mine:
                del self._assigned[node]
            if task.state is TaskState.QUEUED:
                del self._idle[node][task.seq]
                if not self._idle[node]:
                    del self._idle[node]
            _count(self._expected, node, -task.size)
            _count(self._unsized, node, -(not task.size))
            for origin in origins_of(task.spec):
                _count(self._connections, origin, -(task.connections or wanted_connections(task.spec)))


def _share(spec: TaskSpec) -> None:
    """Let rows that say nothing of options and tags have one empty dict for it together: 19 MB in 100,000 rows. Nobody writes
    into it, for specs are frozen."""
    for name in ("options", "tags", "prefer_tags"):
        if not getattr(spec, name):
            msgspec.structs.force_setattr(spec, name, NOTHING)


def forget(known: dict[str, Any], kept: int) -> None:
    """Drop the oldest in bunches, so that at least `kept` remain."""
    if len(known) >= kept + FORGOTTEN_AT_ONCE:
        for oldest in list(islice(known, FORGOTTEN_AT_ONCE)):
            del known[oldest]


def _count(counts: dict[str, int], key: str, more: int) -> None:
    """Add to a count that is not kept while it is 0."""
    if left := counts.get(key, 0) + more:
        counts[key] = left
    else:
        counts.pop(key, None)


def _names(move: str) -> str:
    """The states that a move may leave, for a sentence: "pending, queued or paused"."""
    names = [state.value for state in TaskState if state in MOVES[move].sources]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
