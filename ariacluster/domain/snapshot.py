"""The table as a row of small parts and back, with a schema version. What is derived is not written.

A head tells what follows: the tasks in the order of submission, the proposals that are remembered, the removed ids,
the history, each in parts of at most `ROWS`. No step, there or back, holds the interpreter for longer than one part takes.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import msgspec

from .commands import Outcome
from .errors import AriaClusterError
from .formation import Membership
from .history import Entry
from .member import Member
from .origins import Origin
from .policy import Policy
from .table import TaskTable
from .task import Task

SCHEMA = 6

ROWS = 256
"""Rows in one part: about 0.5 ms to encode, 1 ms to decode, 64 KB."""

T = TypeVar("T")


class Head(msgspec.Struct, frozen=True, kw_only=True, tag="head"):
    """How many of each come after it, and what is small. `last`: the number of the last entry of the history."""

    schema: int
    next_seq: int
    tasks: int
    recent: int
    removed: int
    members: tuple[Member, ...]
    absorbed: dict[str, bool]
    language: int
    policy: Policy
    origins: dict[str, Origin]
    latest: int
    term: int
    happened: int
    last: int
    successor: Membership | None = None


class Tasks(msgspec.Struct, frozen=True, tag="tasks"):
    rows: list[Task]


class Recent(msgspec.Struct, frozen=True, tag="recent"):
    rows: list[tuple[str, tuple[Outcome, ...]]]


class Removed(msgspec.Struct, frozen=True, tag="removed"):
    rows: list[str]


class Happened(msgspec.Struct, frozen=True, tag="happened"):
    rows: list[Entry]


Part = Head | Tasks | Recent | Removed | Happened


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a table must remember, as shallow copies of its own: the rows in them are frozen."""

    next_seq: int
    tasks: dict[str, Task]
    members: dict[str, Member]
    recent: dict[str, tuple[Outcome, ...]]
    removed: dict[str, None]
    absorbed: dict[str, bool]
    language: int
    policy: Policy
    origins: dict[str, Origin]
    latest: int
    term: int
    happened: tuple[Entry, ...]
    last: int
    successor: Membership | None


class UnknownSchema(AriaClusterError):
    code, title = "unknown_schema", "The saved table is of another version"


def take(table: TaskTable) -> Snapshot:
    """The table as of now. Takes a few milliseconds at 100,000 tasks; all else can happen elsewhere."""
    return Snapshot(
        next_seq=table.next_seq,
        tasks=table.tasks.copy(),
        members=table.members.copy(),
        recent=table.recent.copy(),
        removed=table.removed.copy(),
        absorbed=table.absorbed.copy(),
        language=table.language,
        policy=table.policy,
        origins=table.origins.copy(),
        latest=table.latest,
        term=table.term,
        happened=tuple(table.history.entries),
        last=table.history.seq,
        successor=table.successor,
    )


def parts(snapshot: Snapshot) -> Iterator[Part]:
    """What to write, in order."""
    yield Head(
        schema=SCHEMA,
        next_seq=snapshot.next_seq,
        tasks=len(snapshot.tasks),
        recent=len(snapshot.recent),
        removed=len(snapshot.removed),
        members=tuple(snapshot.members.values()),
        absorbed=snapshot.absorbed,
        language=snapshot.language,
        policy=snapshot.policy,
        origins=snapshot.origins,
        latest=snapshot.latest,
        term=snapshot.term,
        happened=len(snapshot.happened),
        last=snapshot.last,
        successor=snapshot.successor,
    )
    # Rows enter the table in the order of their seq and change in place, so the dict has that order by itself.
    for rows in _batches(snapshot.tasks.values()):
        yield Tasks(rows)
    for remembered in _batches(snapshot.recent.items()):
        yield Recent(remembered)
    for ids in _batches(snapshot.removed):
        yield Removed(ids)
    for entries in _batches(snapshot.happened):
        yield Happened(entries)


def restore(written: Iterable[Part]) -> TaskTable:
    """The table that `parts` were made of. `UnknownSchema` if another version wrote them, `ValueError` with a sentence if
    they are not all there, or not in order."""
    arriving = iter(written)
    head = next(arriving, None)
    if not isinstance(head, Head):
        raise ValueError("The saved table is damaged: it has no beginning.")
    if head.schema != SCHEMA:
        raise unknown(head.schema)
    table = TaskTable()
    table.members = {member.id: member for member in head.members}
    table.absorbed = dict(head.absorbed)
    table.language = head.language
    table.policy = head.policy
    table.origins = dict(head.origins)
    table.latest = head.latest
    table.term = head.term
    table.history.seq = head.last
    table.successor = head.successor
    table.next_seq = head.next_seq
    for part in arriving:
        match part:
            case Tasks(rows):
                for task in rows:
                    if task.id in table.tasks or task.seq in table.order:
                        raise ValueError(f"The saved table is damaged: task {task.id} stands in it twice.")
                    table.load(task)
            case Recent(remembered) if not any(proposal in table.recent for proposal, _ in remembered):
                table.recent.update(remembered)
            case Removed(ids) if table.removed.keys().isdisjoint(ids):
                table.removed.update(dict.fromkeys(ids))
            case Happened(entries) if _follow(entries, table.history.entries):
                table.history.entries.extend(entries)
            case _:
                raise ValueError("The saved table is damaged: a part of it comes twice.")
    for what, found, wanted in (
        ("tasks", len(table.tasks), head.tasks),
        ("proposals", len(table.recent), head.recent),
        ("removed ids", len(table.removed), head.removed),
        ("entries of the history", len(table.history.entries), head.happened),
    ):
        if found != wanted:
            raise ValueError(f"The saved table is not whole: it has {found} of {wanted} {what}.")
    return table


def _follow(entries: list[Entry], known: deque[Entry]) -> bool:
    return not known or not entries or entries[0].seq > known[-1].seq


def unknown(schema: object) -> UnknownSchema:
    return UnknownSchema(
        f"The saved table has schema {schema!r}; this version reads {SCHEMA}. Use the version that wrote it."
    )


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    left = iter(rows)
    while batch := list(islice(left, ROWS)):
        yield batch
