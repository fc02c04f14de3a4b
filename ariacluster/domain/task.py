"""A task: what was asked, where it stands, and the table of moves it may make.

Times are whole milliseconds since the epoch, UTC; sizes are bytes. Every value here is frozen: a change is a new row. None
can be a part of a cycle, so the garbage collector need not look at them (`gc=False`): with 100,000 rows its full
collections would hold up the event loop.
"""

from enum import IntEnum, StrEnum
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from .document import Document


class TaskState(StrEnum):
    """Where a task stands; the names are those of the API's `status`."""

    PENDING = "pending"
    QUEUED = "queued"
    DOWNLOADING = "downloading"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


P, Q, D = TaskState.PENDING, TaskState.QUEUED, TaskState.DOWNLOADING

ASSIGNED = frozenset({Q, D})
"""States in which a node works on the task."""

FINAL = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED})
"""States that a task leaves only by a person's word."""


class Move(NamedTuple):
    """One legal move: from any of `sources` to `target`, and who makes it when."""

    sources: frozenset[TaskState]
    target: TaskState
    when: str


MOVES: dict[str, Move] = {
    "assign": Move(frozenset({P}), Q, "the dispatcher picked a node"),
    "start": Move(frozenset({Q}), D, "the node's aria2 began"),
    "move": Move(frozenset({P, Q, D}), Q, "it is handed to another node, which fetches the bytes that are there"),
    "release": Move(frozenset({Q, D}), P, "the node was lost, or the attempt failed and is worth another"),
    "complete": Move(
        frozenset({P, Q, D, TaskState.PAUSED, TaskState.FAILED}),
        TaskState.COMPLETED,
        "the file is whole and published, though the attempt may have been ended meanwhile",
    ),
    "fail": Move(frozenset({Q, D}), TaskState.FAILED, "no further attempt would help"),
    "pause": Move(frozenset({P, Q, D}), TaskState.PAUSED, "somebody paused it"),
    "resume": Move(frozenset({TaskState.PAUSED}), P, "somebody resumed it"),
    "retry": Move(frozenset({TaskState.FAILED, TaskState.CANCELED}), P, "somebody asked for another try"),
    "relink": Move(frozenset({P, Q, D, TaskState.PAUSED, TaskState.FAILED}), P, "somebody gave it a new link"),
    "edit": Move(frozenset({Q, D}), P, "somebody changed what was asked of it, and its node must begin anew"),
    "cancel": Move(frozenset({P, Q, D, TaskState.PAUSED}), TaskState.CANCELED, "somebody canceled it"),
}
"""The whole life of a task. `docs/task-states.md` is drawn from this table."""


class Priority(IntEnum):
    LOW = 0
    NORMAL = 1
    HIGH = 2
    URGENT = 3


class TaskSpec(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What was asked, checked already (`intake.check`). Paths are relative to the download folder of the node. `max_attempts`
    0: as the cluster says (`Policy`). `document`: what was uploaded in place of links; its own link stands for it then."""

    urls: tuple[str, ...]
    out: str | None = None
    dir: str = ""
    options: dict[str, str] = {}
    headers: tuple[str, ...] = ()
    checksum: str | None = None
    priority: Priority = Priority.NORMAL
    tags: dict[str, str] = {}
    prefer_tags: dict[str, str] = {}
    node: str | None = None
    max_attempts: int = 0
    not_before: int = 0
    document: Document | None = None


def mark_of(spec: TaskSpec) -> int:
    """A number that tells this spec from others."""
    return int.from_bytes(blake2b(msgspec.msgpack.encode(spec), digest_size=8).digest())


class FailureKind(StrEnum):
    """Whose fault an attempt's end was; it decides where, and if, the next one runs."""

    ORIGIN = "origin"
    NODE = "node"
    LOST = "lost"
    LINK = "link"
    CONTENT = "content"
    THROTTLED = "throttled"


class Failure(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How one attempt ended: `code` is aria2's own (0 where aria2 had no say), `message` a sentence for a person.

    `ran`: of an attempt that was lost with its node, for how long it had been downloading when the node was last heard (ms);
    -1 if it had not begun.
    """

    attempt: int
    node: str
    at: int
    kind: FailureKind
    code: int = 0
    message: str = ""
    ran: int = -1


class FileEntry(msgspec.Struct, frozen=True, gc=False):
    """A published file: path relative to the download folder of the node, length in bytes."""

    path: str
    length: int


class Result(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What a completed task left. At most `MAX_FILES` files are listed; `file_count` counts them all."""

    total_bytes: int
    file_count: int
    files: tuple[FileEntry, ...] = ()


MAX_FILES = 100
"""Files listed in a result: a command must stay under 32 KB, and a torrent may have thousands."""

MAX_FAILURES = 16
"""Failures kept with a task: enough for its story, bounded for the log and the snapshot."""


class Task(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One row of the table.

    `node` is the node of the current attempt, or of the last one while none runs: the bytes already fetched are there.
    `attempt` counts assignments and fences them: a report about an older one is refused. `tries` counts the attempts that
    failed since somebody last asked for one, lost nodes aside; `failures` keeps only the newest.

    `bytes_on`: the node whose staging folder has what was fetched so far. An attempt on another one fetches it from there
    first, and says `Took`. `size` (bytes) and `validator` (ETag or Last-Modified) are what the origin said last; 0 and empty:
    nobody knows. `connections`: how many it may have to each of its origins; 0: as many as it likes. `turn`: its place among
    the pending, the smallest first (see `queue`).
    """

    id: str
    spec: TaskSpec
    seq: int
    state: TaskState = TaskState.PENDING
    node: str | None = None
    bytes_on: str | None = None
    attempt: int = 0
    tries: int = 0
    turn: int = 0
    size: int = 0
    validator: str = ""
    connections: int = 0
    reason: str = ""
    not_before: int = 0
    failures: tuple[Failure, ...] = ()
    result: Result | None = None
    created_at: int
    updated_at: int

    @property
    def assigned_to(self) -> str | None:
        """The node that works on it now, if one does."""
        return self.node if self.state in ASSIGNED else None

    @property
    def holder(self) -> str | None:
        """The node from which its node is to fetch the bytes before it can go on, if it is another one."""
        return self.bytes_on if self.state in ASSIGNED and self.bytes_on != self.node else None
