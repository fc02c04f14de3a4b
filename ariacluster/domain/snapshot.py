"""The table as plain data and back, with a schema version. What is derived is not written."""

from typing import Any

import msgspec

from .commands import Outcome
from .errors import AriaClusterError
from .member import Member
from .table import TaskTable
from .task import Task

SCHEMA = 1


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a table must remember. Frozen rows: taking one is shallow and quick, encoding it can happen elsewhere."""

    schema: int
    next_seq: int
    tasks: tuple[Task, ...]
    members: tuple[Member, ...]
    recent: tuple[tuple[str, tuple[Outcome, ...]], ...]
    removed: tuple[str, ...]


class UnknownSchema(AriaClusterError):
    code, title = "unknown_schema", "The saved table is of another version"


def take(table: TaskTable) -> Snapshot:
    return Snapshot(
        schema=SCHEMA,
        next_seq=table.next_seq,
        tasks=tuple(table.tasks[task_id] for task_id in table.order.values()),
        members=tuple(table.members.values()),
        recent=tuple(table.recent.items()),
        removed=tuple(table.removed),
    )


def restore(snapshot: Snapshot) -> TaskTable:
    table = TaskTable()
    table.next_seq = snapshot.next_seq
    for task in snapshot.tasks:
        table.put(task)
    table.members = {member.id: member for member in snapshot.members}
    table.recent.update(snapshot.recent)
    table.removed.update(dict.fromkeys(snapshot.removed))
    return table


def to_plain(snapshot: Snapshot) -> dict[str, Any]:
    """Lists, dicts, strings and numbers only: what any codec can carry."""
    plain = msgspec.to_builtins(snapshot)
    assert isinstance(plain, dict)
    return plain


def from_plain(data: Any) -> Snapshot:
    """Read `to_plain`'s data; `UnknownSchema` if another version wrote it."""
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise UnknownSchema(
            f"The saved table has schema {schema!r}; this version reads {SCHEMA}. Use the newer version."
        )
    return msgspec.convert(data, Snapshot)
