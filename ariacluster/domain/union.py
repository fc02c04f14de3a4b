"""Two rows of one task, from clusters that went apart or were never one: which of them is true. Pure.

Whatever order rows are united in, and however often, the same one remains: so every member may bring its copy along.
"""

import msgspec

from .task import Task, TaskState

_FURTHEST = (
    TaskState.PENDING,
    TaskState.QUEUED,
    TaskState.DOWNLOADING,
    TaskState.PAUSED,
    TaskState.FAILED,
    TaskState.CANCELED,
    TaskState.COMPLETED,
)
"""Of one attempt, the state that came later; what a person said comes after what a machine did."""


def united(one: Task, other: Task) -> Task:
    """The row that remains of two with one id, but for `seq`, which each table counts by itself.

    What is completed is done, whoever tried again since. Else the later attempt counts, and of one attempt what came
    later in its life.
    """
    return max(one, other, key=_standing)


def slim(task: Task) -> Task:
    """The row without the long parts of its story: of a long list of files only the count stays, of failures the last."""
    result = msgspec.structs.replace(task.result, files=()) if task.result else None
    return msgspec.structs.replace(task, result=result, failures=task.failures[-1:])


def _standing(task: Task) -> tuple[object, ...]:
    done = task.state is TaskState.COMPLETED
    # The bytes only count where both say the same of themselves: then any may remain, but always the same one.
    rest = msgspec.msgpack.encode(msgspec.structs.replace(task, seq=0))
    return done, task.attempt, _FURTHEST.index(task.state), task.updated_at, rest
