"""What the commands about members, the policy and whole clusters do, one function each. Called by `TaskTable.apply` alone.

Each takes the rows, the command and the proposer's time (ms), and answers None or why nothing was changed.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from . import union
from .commands import (
    Absorb,
    Adopt,
    Bury,
    Configure,
    Drain,
    Elect,
    Introduce,
    Miss,
    Outcome,
    Refusal,
    Register,
    Resign,
    Succeed,
    Tune,
    Undrain,
    Unregister,
)
from .history import Kind
from .rows import Rows


def _register(rows: Rows, c: Register, at: int) -> Outcome:
    known = rows.members.get(c.member.id)
    rows.put_member(c.member.registered(known) if known else msgspec.structs.replace(c.member, joined_at=at))
    if known is None:
        rows.note(Kind.NODE_JOINED, c.member.id)
    elif known.resigned and not c.member.resigned:
        rows.note(Kind.NODE_BACK, c.member.id)
    return None


def _unregister(rows: Rows, c: Unregister, _at: int) -> Outcome:
    member = rows.members.get(c.node)
    if member is None:
        return _nobody(c.node)
    if len(rows.members) == 1:
        return Refusal("conflict", f"{member.name} is the only node; without it there is no cluster.")
    rows.note(Kind.NODE_LEFT, c.node)
    rows.drop_member(c.node)
    return None


def _miss(rows: Rows, c: Miss, _at: int) -> Outcome:
    return _say(rows, c.node, Kind.NODE_LOST if c.since else Kind.NODE_BACK, missed_since=c.since)


def _resign(rows: Rows, c: Resign, _at: int) -> Outcome:
    return _say(rows, c.node, Kind.NODE_RESIGNED, resigned=True)


def _drain(rows: Rows, c: Drain, _at: int) -> Outcome:
    return _say(rows, c.node, Kind.NODE_DRAINED, drain_until=c.until)


def _undrain(rows: Rows, c: Undrain, _at: int) -> Outcome:
    return _say(rows, c.node, Kind.NODE_UNDRAINED, drain_until=None)


def _tune(rows: Rows, c: Tune, _at: int) -> Outcome:
    return _say(rows, c.node, Kind.NODE_TUNED, tuning=c.tuning)


def _say(rows: Rows, node: str, kind: Kind, **fields: Any) -> Outcome:
    known = rows.members.get(node)
    if known is None:
        return _nobody(node)
    if (then := msgspec.structs.replace(known, **fields)) != known:
        rows.put_member(then)
        rows.note(kind, node)
    return None


def _nobody(node: str) -> Refusal:
    return Refusal("not_found", f"There is no node {node}.")


def _elect(rows: Rows, c: Elect, _at: int) -> Outcome:
    if c.term > rows.term:
        rows.term = c.term
        rows.note(Kind.LEADER_ELECTED, c.node, str(c.term))
    return None


def _configure(rows: Rows, c: Configure, _at: int) -> Outcome:
    if changed := c.policy.changed(rows.policy):
        rows.policy = c.policy
        rows.note(Kind.SETTINGS_CHANGED, detail=", ".join(changed))
    return None


def _introduce(rows: Rows, c: Introduce, at: int) -> Outcome:
    return None if c.member.id in rows.members else _register(rows, Register(c.member), at)


def _adopt(rows: Rows, c: Adopt, _at: int) -> Outcome:
    if c.row.id in rows.removed:
        return Refusal("task_removed", f"Task {c.row.id} was removed here.")
    known = rows.tasks.get(c.row.id)
    if known is None:
        rows.put(msgspec.structs.replace(c.row, seq=rows.next_seq))
        rows.next_seq += 1
    elif (remains := msgspec.structs.replace(union.united(known, c.row), seq=known.seq)) != known:
        rows.put(remains)
    return None


def _bury(rows: Rows, c: Bury, _at: int) -> Outcome:
    for task_id in c.tasks:
        if (task := rows.tasks.get(task_id)) is not None:
            rows.drop(task)
        else:
            rows.note_removed(task_id)
    return None


def _absorb(rows: Rows, c: Absorb, _at: int) -> Outcome:
    if c.cluster not in rows.absorbed:
        rows.note(Kind.CLUSTER_ABSORBED, detail=c.cluster)
    rows.absorbed[c.cluster] = c.whole or rows.absorbed.get(c.cluster, False)
    return None


def _succeed(rows: Rows, c: Succeed, _at: int) -> Outcome:
    rows.successor = c.into
    rows.note(Kind.CLUSTER_MERGED, detail=c.into.cluster_id)
    return None


HANDLERS: dict[type, Callable[[Rows, Any, int], Outcome]] = {
    Register: _register,
    Unregister: _unregister,
    Miss: _miss,
    Resign: _resign,
    Drain: _drain,
    Undrain: _undrain,
    Tune: _tune,
    Elect: _elect,
    Configure: _configure,
    Introduce: _introduce,
    Adopt: _adopt,
    Bury: _bury,
    Absorb: _absorb,
    Succeed: _succeed,
}
