"""The worker's plan, line by line; tests/properties has it in any weather."""

import pytest

from ariacluster.domain.reconcile import (
    Action,
    Add,
    Began,
    Discard,
    Download,
    Drop,
    Failed,
    Finished,
    Publish,
    Receipt,
    Staged,
    plan,
)
from ariacluster.domain.task import ASSIGNED, Failure, FailureKind, Result, Task, TaskSpec, TaskState

RESULT = Result(total_bytes=7, file_count=1)


def row(state: TaskState = TaskState.DOWNLOADING, attempt: int = 2, node: str | None = "a", *failures: Failure) -> Task:
    spec = TaskSpec(urls=("http://one/f",))
    return Task(
        id="t", spec=spec, seq=1, state=state, node=node, attempt=attempt, failures=failures, created_at=0, updated_at=0
    )


def doing(status: str) -> Download:
    return Download(gid="t", status=status)


def receipt(attempt: int) -> Staged:
    return Staged(Receipt(attempt=attempt, result=RESULT))


def failed(code: int, node: str = "a") -> Failure:
    return Failure(attempt=1, node=node, at=0, kind=FailureKind.ORIGIN, code=code)


def planned(
    task: Task | None, download: Download | None = None, attempt: int | None = None, staged: Staged | None = None
) -> list[Action]:
    return plan(
        "a",
        [task] if task and task.node == "a" and task.state in ASSIGNED else [],
        {"t": download} if download else {},
        {"t": attempt} if attempt is not None else {},
        {"t": staged} if staged else {},
        {"t": task} if task else {},
    )


QUEUED = row(TaskState.QUEUED)
RUNNING = row()
BARE = Staged(None)


@pytest.mark.parametrize(
    ("task", "download", "attempt", "staged", "actions"),
    [
        # what is wanted is not running
        (QUEUED, None, None, None, [Add(QUEUED, fresh=False)]),
        (RUNNING, None, None, BARE, [Add(RUNNING, fresh=False)]),
        (RUNNING, None, 2, BARE, [Add(RUNNING, fresh=False)]),
        # it runs
        (QUEUED, doing("waiting"), 2, BARE, []),
        (QUEUED, doing("active"), 2, BARE, [Began(QUEUED)]),
        (RUNNING, doing("active"), 2, BARE, []),
        (RUNNING, doing("paused"), 2, BARE, []),
        (QUEUED, doing("complete"), 2, BARE, [Publish(QUEUED)]),
        (RUNNING, doing("complete"), 2, BARE, [Publish(RUNNING)]),
        (RUNNING, doing("error"), 2, BARE, [Failed(RUNNING, doing("error"))]),
        (RUNNING, doing("removed"), 2, BARE, [Failed(RUNNING, doing("removed"))]),
        # it runs for an attempt that is over, even if it is whole
        (RUNNING, doing("active"), 1, BARE, [Drop("t"), Add(RUNNING, fresh=False)]),
        (RUNNING, doing("complete"), 1, BARE, [Drop("t"), Add(RUNNING, fresh=False)]),
        (RUNNING, doing("complete"), None, BARE, [Drop("t"), Add(RUNNING, fresh=False)]),
        # published already
        (RUNNING, doing("complete"), 2, receipt(2), [Finished(RUNNING, Receipt(attempt=2, result=RESULT))]),
        (RUNNING, None, None, receipt(2), [Finished(RUNNING, Receipt(attempt=2, result=RESULT))]),
        # published by an attempt that is over: never the folder before the download that is in it
        (RUNNING, None, None, receipt(1), [Discard("t", published=True), Add(RUNNING, fresh=True)]),
        (RUNNING, doing("active"), 2, receipt(1), [Drop("t"), Discard("t", published=True), Add(RUNNING, fresh=True)]),
        # published by a task that bore this id before
        (RUNNING, None, None, receipt(3), [Discard("t", published=False), Add(RUNNING, fresh=True)]),
        # nothing to do with this node any more
        (None, doing("active"), 2, BARE, [Drop("t"), Discard("t", published=False)]),
        (None, None, None, receipt(2), [Discard("t", published=False)]),
        (row(node="b"), doing("active"), 1, BARE, [Drop("t"), Discard("t", published=False)]),
        (row(node="b"), None, None, receipt(1), [Discard("t", published=True)]),
        (row(TaskState.COMPLETED, node="b"), None, None, receipt(1), [Discard("t", published=True)]),
        (row(TaskState.PENDING, 0, None), None, None, receipt(1), [Discard("t", published=False)]),
        # it may go on here: the bytes stay
        (row(TaskState.PAUSED), doing("active"), 2, BARE, [Drop("t")]),
        (row(TaskState.PENDING), None, None, BARE, []),
        (row(TaskState.FAILED), None, None, BARE, []),
        # it will not
        (row(TaskState.CANCELED), doing("active"), 2, BARE, [Drop("t"), Discard("t", published=False)]),
        (row(TaskState.CANCELED), None, None, receipt(2), [Discard("t", published=True)]),
        # it is done
        (row(TaskState.COMPLETED), doing("complete"), 2, receipt(2), [Drop("t"), Discard("t", published=False)]),
        (row(TaskState.COMPLETED), None, None, receipt(1), [Discard("t", published=True)]),
        (row(TaskState.COMPLETED), None, None, BARE, [Discard("t", published=False)]),
        (row(TaskState.COMPLETED), None, None, None, []),
    ],
)
def test_plan(
    task: Task | None, download: Download | None, attempt: int | None, staged: Staged | None, actions: list[Action]
) -> None:
    assert planned(task, download, attempt, staged) == actions


@pytest.mark.parametrize(
    ("failures", "fresh"),
    [
        ((), False),
        ((failed(6),), False),
        ((failed(8),), True),
        ((failed(32),), True),
        ((failed(8), failed(6)), False),
        ((failed(8), failed(6, "b")), True),
        ((failed(8, "b"),), False),
    ],
)
def test_useless_bytes_are_thrown_away(failures: tuple[Failure, ...], fresh: bool) -> None:
    task = row(TaskState.QUEUED, 3, "a", *failures)
    assert planned(task, staged=BARE) == [Add(task, fresh=fresh)]
