"""What happened, in the order of the log: the newest entries, the same on every node. Written by `TaskTable.apply` alone.

An entry is data; its sentence is made where people read it (`wire.history`). Of what is of one kind in one proposal and more
than a few, one entry tells how many: ten thousand submits do not push all else out.
"""

from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec

from .commands import (
    Assign,
    Cancel,
    Command,
    Complete,
    Edit,
    Fail,
    Move,
    Pause,
    Release,
    Relink,
    Remove,
    Resume,
    Retry,
    Start,
    Submit,
)
from .names import name_of
from .task import ASSIGNED, Task, TaskState

KEPT = 10_000
"""Entries that are remembered: some 3 MB, and days of a busy cluster."""

FEW = 3
"""So many tasks of one kind have an entry each in one proposal; of more, one entry tells for all."""

MAX_NAME_CHARS = 120
MAX_DETAIL_CHARS = 240
"""Of what is kept in an entry."""


class Kind(StrEnum):
    """What happened; stable, for programs."""

    TASK_SUBMITTED = "task_submitted"
    TASK_ASSIGNED = "task_assigned"
    TASK_STARTED = "task_started"
    TASK_COMPLETED = "task_completed"
    TASK_ATTEMPT_FAILED = "task_attempt_failed"
    TASK_FAILED = "task_failed"
    TASK_LOST = "task_lost"
    TASK_RELEASED = "task_released"
    TASK_MOVED = "task_moved"
    TASK_PAUSED = "task_paused"
    TASK_RESUMED = "task_resumed"
    TASK_RETRIED = "task_retried"
    TASK_RELINKED = "task_relinked"
    TASK_EDITED = "task_edited"
    TASK_CANCELED = "task_canceled"
    TASK_REMOVED = "task_removed"
    NODE_JOINED = "node_joined"
    NODE_LEFT = "node_left"
    NODE_LOST = "node_lost"
    NODE_BACK = "node_back"
    NODE_RESIGNED = "node_resigned"
    NODE_DRAINED = "node_drained"
    NODE_UNDRAINED = "node_undrained"
    NODE_TUNED = "node_tuned"
    LEADER_ELECTED = "leader_elected"
    SETTINGS_CHANGED = "settings_changed"
    CLUSTER_ABSORBED = "cluster_absorbed"
    CLUSTER_MERGED = "cluster_merged"


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One thing that happened at `at` (ms since the epoch). `task` and `name`: the task, or the first of `count` many.
    `node` and `place`: a node's id and name. `who`: whose word it was, empty for the cluster's own. `detail`: a reason, what
    was changed, a term, or the id of a cluster, by the kind."""

    seq: int
    at: int
    kind: Kind
    task: str = ""
    name: str = ""
    node: str = ""
    place: str = ""
    who: str = ""
    count: int = 1
    detail: str = ""


class Note(msgspec.Struct, frozen=True, gc=False):
    """What one command did that is worth telling."""

    kind: Kind
    row: Task | None = None
    node: str = ""
    place: str = ""
    detail: str = ""


PLAIN: dict[type, Kind] = {
    Submit: Kind.TASK_SUBMITTED,
    Assign: Kind.TASK_ASSIGNED,
    Move: Kind.TASK_MOVED,
    Complete: Kind.TASK_COMPLETED,
    Pause: Kind.TASK_PAUSED,
    Resume: Kind.TASK_RESUMED,
    Retry: Kind.TASK_RETRIED,
    Relink: Kind.TASK_RELINKED,
    Edit: Kind.TASK_EDITED,
    Cancel: Kind.TASK_CANCELED,
    Remove: Kind.TASK_REMOVED,
}
"""What a command means whatever the row was."""

AT_A_NODE = frozenset(
    {
        Kind.TASK_ASSIGNED,
        Kind.TASK_STARTED,
        Kind.TASK_COMPLETED,
        Kind.TASK_ATTEMPT_FAILED,
        Kind.TASK_FAILED,
        Kind.TASK_LOST,
        Kind.TASK_RELEASED,
        Kind.TASK_MOVED,
    }
)
"""Kinds of which the node is a part."""


def kind_of(command: Command, before: Task | None, after: Task | None) -> Kind | None:
    """What it is called that `command` made `after` of the row `before`; None: nothing to tell of."""
    if (kind := PLAIN.get(type(command))) is not None:
        return kind
    assert before is None or after is None or before.id == after.id
    match command:
        case Start() if after is not None and (before is None or before.state is not after.state):
            return Kind.TASK_STARTED
        case Fail() | Release() if after is not None and after.state is TaskState.FAILED:
            return Kind.TASK_FAILED
        case Fail():
            return Kind.TASK_ATTEMPT_FAILED
        case Release(idle=True):
            return Kind.TASK_RELEASED
        case Release():
            return Kind.TASK_LOST
    return None


def note_of(command: Command, before: Task | None, after: Task | None) -> Note | None:
    """As `kind_of`, with what belongs to it."""
    kind = kind_of(command, before, after)
    if kind is None:
        return None
    row = after or before
    assert row is not None
    if kind is Kind.TASK_EDITED and before and after:
        old, new = before.spec, after.spec
        return Note(kind, row, detail=", ".join(n for n in new.__struct_fields__ if getattr(old, n) != getattr(new, n)))
    if kind not in AT_A_NODE:
        return Note(kind, row)
    return Note(kind, row, node=row.node or "", detail=_detail(row) if after else "")


def _detail(row: Task) -> str:
    return row.reason if row.state in ASSIGNED or row.state in (TaskState.PENDING, TaskState.FAILED) else ""


class History:
    """The newest entries; `seq` is the number of the last one that ever was."""

    def __init__(self) -> None:
        self.seq = 0
        self.entries: deque[Entry] = deque(maxlen=KEPT)

    def write(self, notes: Iterable[Note], *, at: int, who: str, place_of: Callable[[str], str]) -> tuple[Entry, ...]:
        """Remember what one proposal did; the new entries. `place_of`: the name of a node."""
        groups: dict[tuple[Kind, str], list[Note]] = {}
        counts: dict[tuple[Kind, str], int] = {}
        for note in notes:
            key = (note.kind, note.node)
            counts[key] = counts.get(key, 0) + 1
            if counts[key] <= FEW:
                groups.setdefault(key, []).append(note)
        written = tuple(
            self._entry(note, at, who, place_of, count if count > FEW else 1)
            for key, count in counts.items()
            for note in (groups[key] if count <= FEW else groups[key][:1])
        )
        self.entries.extend(written)
        return written

    def _entry(self, note: Note, at: int, who: str, place_of: Callable[[str], str], count: int) -> Entry:
        self.seq += 1
        return Entry(
            self.seq,
            at,
            note.kind,
            note.row.id if note.row else "",
            name_of(note.row)[:MAX_NAME_CHARS] if note.row else "",
            note.node,
            note.place or (place_of(note.node) if note.node else ""),
            who,
            count,
            note.detail[:MAX_DETAIL_CHARS],
        )
