"""What the commands about a task do to its row, one function each. Called by `TaskTable.apply` alone.

Each takes the rows, the command and the proposer's time (ms), and answers None or why nothing was changed.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from . import retry
from .commands import (
    Assign,
    Cancel,
    Complete,
    Edit,
    Fail,
    Measure,
    Move,
    Outcome,
    Pause,
    Refusal,
    Release,
    Relink,
    Remove,
    Resume,
    Retry,
    Start,
    Submit,
    Took,
)
from .origins import Origin, links_of, origins_of
from .queue import turn_of
from .rows import Rows
from .task import FINAL, MAX_FAILURES, Failure, FailureKind, Task, TaskSpec, TaskState, mark_of

MAX_ASKING_MS = 60_000
"""For no longer does a task wait for its size, whatever whoever took it in says."""

MAX_HOLD_MS = 24 * 3_600_000
"""For no longer is an origin left alone, whatever it asks for."""

FORGIVEN_AFTER_MS = 3_600_000
"""An origin that was not asked for so long after its hold is a stranger again."""


def _submit(rows: Rows, c: Submit, at: int) -> Outcome:
    known = rows.tasks.get(c.task)
    if known is not None:
        return None if known.spec == c.spec else Refusal("task_exists", f"Task {c.task} asks for something else.")
    if c.task in rows.removed:
        return Refusal("task_removed", f"Task {c.task} was removed; a new task needs a new id.")
    if c.unique and (twin := rows.twin_of(c.spec)):
        return Refusal("duplicate", f"Task {twin.id} fetches the same and is {twin.state}.", twin.id)
    rows.latest = max(rows.latest, at)
    asked = at + min(c.asking, MAX_ASKING_MS) if c.asking > 0 else 0
    rows.put(
        Task(
            id=c.task,
            spec=c.spec,
            seq=rows.next_seq,
            state=TaskState.PAUSED if c.paused else TaskState.PENDING,
            turn=turn_of(rows.latest, c.spec.priority),
            size=c.spec.document.size if c.spec.document else 0,
            not_before=0 if c.paused else max(asked, _not_before(c.spec.not_before, at)),
            created_at=at,
            updated_at=at,
        )
    )
    rows.next_seq += 1
    return None


def _measure(rows: Rows, c: Measure, at: int) -> Outcome:
    task = rows.find(c.task)
    if isinstance(task, Refusal):
        return task
    if c.links and c.links != links_of(task.spec):
        return Refusal("conflict", f"Task {c.task} has another link by now.")
    size = c.size if c.size > 0 else task.size
    waits = task.state is TaskState.PENDING and task.attempt == 0
    due = _not_before(task.spec.not_before, at) if waits else task.not_before
    measured = msgspec.structs.replace(task, size=size, validator=c.validator or task.validator, not_before=due)
    if measured != task:
        rows.put(measured)
    return None


def _assign(rows: Rows, c: Assign, at: int) -> Outcome:
    task = rows.find(c.task)
    if isinstance(task, Refusal):
        return task
    return _unfit(rows, c, task) or rows.move(task, "assign", at, **_placed(task, c))


def _move(rows: Rows, c: Move, at: int) -> Outcome:
    task = rows.find(c.task)
    if isinstance(task, Refusal):
        return task
    if refusal := _unfit(rows, c, task):
        return refusal
    if task.assigned_to == c.node:
        return Refusal("conflict", f"Task {c.task} is on that node already.")
    if c.idle and task.state is TaskState.DOWNLOADING:
        return Refusal("illegal_move", f"Task {c.task} is {task.state} by now, and stays where it is.")
    return rows.move(task, "move", at, **_placed(task, c))


def _unfit(rows: Rows, c: Assign | Move, task: Task) -> Outcome:
    if c.attempt != task.attempt + 1:
        return Refusal("stale_attempt", f"Task {c.task} is at attempt {task.attempt}; {c.attempt} is not next.")
    if c.node not in rows.members:
        return Refusal("not_found", f"There is no node {c.node}.")
    return None


def _placed(task: Task, c: Assign | Move) -> dict[str, Any]:
    return {
        "attempt": c.attempt,
        "node": c.node,
        "bytes_on": task.bytes_on if c.fetch or task.bytes_on == c.node else None,
        "connections": c.connections,
        "reason": c.reason,
        "not_before": 0,
    }


def _took(rows: Rows, c: Took, _at: int) -> Outcome:
    task = rows.current(c.task, c.attempt)
    if isinstance(task, Refusal):
        return task
    if task.holder is not None:
        rows.put(msgspec.structs.replace(task, bytes_on=task.node))
    return None


def _start(rows: Rows, c: Start, at: int) -> Outcome:
    task = rows.current(c.task, c.attempt)
    if isinstance(task, Refusal):
        return task
    size = c.size if c.size > 0 else task.size
    if task.state is not TaskState.DOWNLOADING:
        return rows.move(task, "start", at, bytes_on=task.node, size=size)
    if size != task.size:
        rows.put(msgspec.structs.replace(task, size=size))
    return None


def _complete(rows: Rows, c: Complete, at: int) -> Outcome:
    task = rows.find(c.task)
    if isinstance(task, Refusal):
        return task
    if task.attempt != c.attempt or task.node is None or task.state in (TaskState.COMPLETED, TaskState.CANCELED):
        return rows.over(task, c.attempt)  # whole is whole: an attempt that was only taken back or paused still counts
    reason = task.reason if task.assigned_to else ""
    for origin in origins_of(task.spec):
        if origin in rows.origins and rows.origins[origin].until <= at:
            del rows.origins[origin]
    return rows.move(task, "complete", at, result=c.result, bytes_on=None, not_before=0, reason=reason)


def _fail(rows: Rows, c: Fail, at: int) -> Outcome:
    task = rows.current(c.task, c.attempt)
    if isinstance(task, Refusal):
        return task
    meaning = retry.cause(c.code, c.message)
    if c.kind is FailureKind.THROTTLED:
        _hold(rows, task, c, at)
    failure = Failure(attempt=task.attempt, node=task.node or "", at=at, kind=c.kind, code=c.code, message=c.message)
    bytes_on = None if meaning.restart else task.bytes_on
    verdict = retry.judge(task, failure, meaning.retryable, c.dice, c.retry_after, rows.policy)
    counts = retry.counts(failure, c.retry_after)
    return _end_attempt(rows, task, failure, verdict, at, tries=task.tries + counts, bytes_on=bytes_on)


def _hold(rows: Rows, task: Task, c: Fail, at: int) -> None:
    """All nodes keep away from the origins of the task for a while. Those that failed with it do not count twice."""
    for known in [origin for origin, hold in rows.origins.items() if hold.until + FORGIVEN_AFTER_MS < at]:
        del rows.origins[known]
    for origin in origins_of(task.spec):
        before = rows.origins.get(origin, Origin(0, 0))
        strikes = before.strikes if before.until > at else before.strikes + 1
        wait = max(c.retry_after, retry.backoff(strikes, c.dice, rows.policy))
        rows.origins[origin] = Origin(max(before.until, at + min(wait, MAX_HOLD_MS)), strikes)


def _release(rows: Rows, c: Release, at: int) -> Outcome:
    task = rows.current(c.task, c.attempt)
    if isinstance(task, Refusal):
        return task
    began = task.state is TaskState.DOWNLOADING
    if c.idle and began:
        return Refusal("illegal_move", f"Task {c.task} is {task.state} by now, and stays where it is.")
    if c.idle:
        return rows.move(task, "release", at, reason=c.message, not_before=0)
    failure = Failure(
        attempt=task.attempt,
        node=task.node or "",
        at=at,
        kind=FailureKind.LOST,
        message=c.message,
        ran=max(0, at - c.silent - task.updated_at) if began else -1,
    )
    verdict = retry.judge(task, failure, True, 0.0, policy=rows.policy)
    return _end_attempt(rows, task, failure, verdict, at, tries=task.tries, bytes_on=task.bytes_on)


def _end_attempt(
    rows: Rows,
    task: Task,
    failure: Failure,
    verdict: retry.Again | retry.GiveUp,
    at: int,
    *,
    tries: int,
    bytes_on: str | None,
) -> Outcome:
    ended = {"failures": (*task.failures, failure)[-MAX_FAILURES:], "tries": tries, "bytes_on": bytes_on}
    if isinstance(verdict, retry.GiveUp):
        return rows.move(task, "fail", at, reason=verdict.reason, **ended)
    return rows.move(task, "release", at, reason=failure.message, not_before=verdict.not_before, **ended)


def _pause(rows: Rows, c: Pause, at: int) -> Outcome:
    task = rows.find(c.task)
    return task if isinstance(task, Refusal) else rows.move(task, "pause", at, reason="", not_before=0)


def _resume(rows: Rows, c: Resume, at: int) -> Outcome:
    task = rows.find(c.task)
    if isinstance(task, Refusal):
        return task
    return rows.move(task, "resume", at, not_before=_not_before(task.spec.not_before, at))


def _retry(rows: Rows, c: Retry, at: int) -> Outcome:
    task = rows.find(c.task)
    return task if isinstance(task, Refusal) else rows.move(task, "retry", at, **_anew())


def _relink(rows: Rows, c: Relink, at: int) -> Outcome:
    task = rows.find(c.task)
    if isinstance(task, Refusal):
        return task
    headers = task.spec.headers if c.headers is None else c.headers
    spec = msgspec.structs.replace(task.spec, urls=c.urls, headers=headers, document=None)
    # What the old link said of the file is not what the new one says; that it is the same file, the caller vouches for.
    return rows.move(
        task, "relink", at, spec=spec, validator="", not_before=_not_before(spec.not_before, at), **_anew()
    )


def _edit(rows: Rows, c: Edit, at: int) -> Outcome:
    task = rows.find(c.task)
    if isinstance(task, Refusal):
        return task
    if task.state in FINAL:
        return Refusal("illegal_move", f"Task {c.task} is {task.state}; only one that is not over can be changed.")
    old, new = task.spec, c.spec
    if old == new:
        return None
    if mark_of(old) != c.known or old.urls != new.urls:
        return Refusal("conflict", f"Somebody else has just changed task {c.task}; look at it, and say it again.")
    fields: dict[str, Any] = {"spec": new, "turn": task.turn + turn_of(0, new.priority) - turn_of(0, old.priority)}
    if new.not_before != old.not_before and task.state is TaskState.PENDING:
        fields["not_before"] = _not_before(new.not_before, at)
    if c.size is not None:
        fields["size"] = max(0, c.size)
    if new.out != old.out:
        fields["bytes_on"] = None  # a part under another name would be published beside the whole
    if task.assigned_to is not None and _needs_anew(rows, task, new):
        return rows.move(task, "edit", at, reason="", not_before=_not_before(new.not_before, at), **fields)
    rows.put(msgspec.structs.replace(task, updated_at=at, **fields))
    return None


def _needs_anew(rows: Rows, task: Task, new: TaskSpec) -> bool:
    """Must what runs be ended, for its aria2 was told otherwise, or its node is none for it any more?"""
    old = task.spec
    told = ("out", "options", "headers", "checksum")
    if any(getattr(old, name) != getattr(new, name) for name in told):
        return True
    member = rows.members.get(task.node or "")
    if member is None:
        return False
    pinned = new.node not in (None, member.id, member.name)
    return pinned or any(member.tags.get(key) != value for key, value in new.tags.items())


def _anew() -> dict[str, Any]:
    return {"failures": (), "tries": 0, "reason": ""}


def _cancel(rows: Rows, c: Cancel, at: int) -> Outcome:
    task = rows.find(c.task)
    if isinstance(task, Refusal):
        return task
    return rows.move(task, "cancel", at, reason="", not_before=0, bytes_on=None)


def _remove(rows: Rows, c: Remove, _at: int) -> Outcome:
    task = rows.find(c.task)
    if isinstance(task, Refusal):
        return task
    rows.drop(task)
    return None


def _not_before(asked: int, at: int) -> int:
    """When the task may be given away: what is due already waits for nothing."""
    return asked if asked > at else 0


HANDLERS: dict[type, Callable[[Rows, Any, int], Outcome]] = {
    Submit: _submit,
    Measure: _measure,
    Assign: _assign,
    Move: _move,
    Took: _took,
    Start: _start,
    Complete: _complete,
    Fail: _fail,
    Release: _release,
    Pause: _pause,
    Resume: _resume,
    Retry: _retry,
    Relink: _relink,
    Edit: _edit,
    Cancel: _cancel,
    Remove: _remove,
}
