"""The worker's plan, line by line; tests/properties has it in any weather."""

import msgspec
import pytest

from ariacluster.domain.reconcile import (
    Action,
    Add,
    Began,
    Discard,
    Download,
    Drop,
    Failed,
    Fetch,
    Fetched,
    Finished,
    Publish,
    Receipt,
    Staged,
    StopFetch,
    Transfer,
    in_step,
    plan,
)
from ariacluster.domain.task import ASSIGNED, Failure, FailureKind, Result, Task, TaskSpec, TaskState

RESULT = Result(total_bytes=7, file_count=1)


def row(
    state: TaskState = TaskState.DOWNLOADING,
    attempt: int = 2,
    node: str | None = "a",
    *failures: Failure,
    bytes_on: str | None = None,
) -> Task:
    spec = TaskSpec(urls=("http://one/f",))
    task = Task(id="t", spec=spec, seq=1, state=state, node=node, attempt=attempt, created_at=0, updated_at=0)
    return msgspec.structs.replace(task, failures=failures, bytes_on=bytes_on)


def doing(status: str) -> Download:
    return Download(gid="t", status=status)


def receipt(attempt: int) -> Staged:
    return Staged(Receipt(attempt=attempt, result=RESULT))


def failed(code: int, node: str = "a") -> Failure:
    return Failure(attempt=1, node=node, at=0, kind=FailureKind.ORIGIN, code=code)


def planned(
    task: Task | None,
    download: Download | None = None,
    attempt: int | None = None,
    staged: Staged | None = None,
    transfer: Transfer | None = None,
    *,
    held: bool = False,
    full: bool = False,
) -> list[Action]:
    return plan(
        "a",
        [task] if task and task.node == "a" and task.state in ASSIGNED else [],
        {"t": download} if download else {},
        {"t": attempt} if attempt is not None else {},
        {"t": staged} if staged else {},
        {"t": task} if task else {},
        {"t": transfer} if transfer else {},
        held={"t"} if held else (),
        full=full,
    )


QUEUED = row(TaskState.QUEUED)
RUNNING = row(bytes_on="a")
BARE = Staged(None)
WHOLE = Receipt(attempt=2, result=RESULT)


@pytest.mark.parametrize(
    ("task", "download", "attempt", "staged", "actions"),
    [
        # what is wanted is not running
        (QUEUED, None, None, None, [Add(QUEUED, fresh=True)]),
        (RUNNING, None, None, BARE, [Add(RUNNING, fresh=False)]),
        (RUNNING, None, 2, BARE, [Add(RUNNING, fresh=False)]),
        # it runs
        (QUEUED, doing("waiting"), 2, BARE, []),
        (QUEUED, doing("active"), 2, BARE, [Began(QUEUED, 0)]),
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
        (None, None, None, receipt(2)._replace(refused=True), [Discard("t", published=True)]),
        (row(node="b"), doing("active"), 1, BARE, [Drop("t"), Discard("t", published=False)]),
        (row(node="b"), None, None, receipt(1), [Discard("t", published=True)]),
        (row(TaskState.COMPLETED, node="b"), None, None, receipt(1), [Discard("t", published=True)]),
        (row(TaskState.PENDING, 0, None), None, None, receipt(1), [Discard("t", published=False)]),
        # it may go on here: the bytes stay
        (row(TaskState.PAUSED, bytes_on="a"), doing("active"), 2, BARE, [Drop("t")]),
        (row(TaskState.PENDING, bytes_on="a"), None, None, BARE, []),
        (row(TaskState.FAILED, bytes_on="a"), None, None, BARE, []),
        # there are none to go on with
        (row(TaskState.PENDING), None, None, BARE, [Discard("t", published=False)]),
        (row(TaskState.FAILED), doing("error"), 2, BARE, [Drop("t"), Discard("t", published=False)]),
        # whole, though the attempt was ended before anybody knew
        (
            row(TaskState.PAUSED, bytes_on="a"),
            None,
            None,
            receipt(2),
            [Finished(row(TaskState.PAUSED, bytes_on="a"), WHOLE)],
        ),
        (row(TaskState.PENDING, bytes_on="a"), None, None, receipt(1), [Discard("t", published=True)]),
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


@pytest.mark.parametrize(("bytes_on", "fresh"), [("a", False), (None, True)])
@pytest.mark.parametrize("failures", [(), (failed(6),), (failed(8),), (failed(8), failed(6, "b"))])
def test_what_lies_here_is_of_use_only_if_the_table_says_so(
    failures: tuple[Failure, ...], bytes_on: str | None, fresh: bool
) -> None:
    task = row(TaskState.QUEUED, 3, "a", *failures, bytes_on=bytes_on)
    assert planned(task, staged=BARE) == [Add(task, fresh=fresh)]
    assert planned(task) == [Add(task, fresh=fresh)]


def coming(attempt: int = 2, *, ended: bool = False) -> Transfer:
    return Transfer(attempt=attempt, ended=ended)


AWAY = row(TaskState.QUEUED, bytes_on="b")
"""Assigned here, while its bytes are on another node."""
TAKEN = row(TaskState.QUEUED, bytes_on="a")


@pytest.mark.parametrize(
    ("task", "download", "attempt", "staged", "transfer", "actions"),
    [
        # the bytes are brought first, into an empty folder
        (AWAY, None, None, None, None, [Fetch(AWAY)]),
        (AWAY, None, None, BARE, None, [Discard("t", published=False), Fetch(AWAY)]),
        (AWAY, None, None, receipt(1), None, [Discard("t", published=True), Fetch(AWAY)]),
        (AWAY, doing("active"), 1, BARE, None, [Drop("t"), Discard("t", published=False), Fetch(AWAY)]),
        # while they come, nothing else is done
        (AWAY, None, None, BARE, coming(), []),
        (AWAY, None, None, BARE, coming(ended=True), [Fetched(AWAY)]),
        # what came for an attempt that is over is not taken for this one
        (AWAY, None, None, BARE, coming(1), [StopFetch("t"), Discard("t", published=False), Fetch(AWAY)]),
        (AWAY, None, None, BARE, coming(1, ended=True), [StopFetch("t"), Discard("t", published=False), Fetch(AWAY)]),
        # they are here: the transfer is put away before the engine is let into the folder
        (TAKEN, None, None, BARE, coming(ended=True), [StopFetch("t"), Add(TAKEN, fresh=False)]),
        # nobody wants them here any more
        (
            row(TaskState.PAUSED, bytes_on="b"),
            None,
            None,
            BARE,
            coming(),
            [StopFetch("t"), Discard("t", published=False)],
        ),
        (None, None, None, BARE, coming(), [StopFetch("t"), Discard("t", published=False)]),
        # the other side: kept as long as the table names this node
        (row(TaskState.QUEUED, 3, "b", bytes_on="a"), doing("active"), 2, BARE, None, [Drop("t")]),
        (row(TaskState.PENDING, 3, "b", bytes_on="a"), None, None, BARE, None, []),
        (row(TaskState.PAUSED, 3, "b", bytes_on="a"), None, None, BARE, None, []),
        (row(TaskState.FAILED, 3, "b", bytes_on="a"), None, None, BARE, None, []),
        (row(TaskState.QUEUED, 3, "b", bytes_on="b"), None, None, BARE, None, [Discard("t", published=False)]),
        (row(TaskState.QUEUED, 3, "b"), None, None, BARE, None, [Discard("t", published=False)]),
        (row(TaskState.QUEUED, 3, "b", bytes_on="a"), None, None, receipt(2), None, [Discard("t", published=True)]),
    ],
)
def test_bytes_that_move(
    task: Task | None,
    download: Download | None,
    attempt: int | None,
    staged: Staged | None,
    transfer: Transfer | None,
    actions: list[Action],
) -> None:
    assert planned(task, download, attempt, staged, transfer) == actions


@pytest.mark.parametrize(
    ("task", "download", "staged", "transfer", "actions"),
    [
        (QUEUED, None, None, None, []),
        (RUNNING, doing("active"), BARE, None, [Drop("t")]),
        (RUNNING, doing("waiting"), BARE, None, [Drop("t")]),
        (RUNNING, doing("complete"), BARE, None, [Publish(RUNNING)]),
        (RUNNING, doing("error"), BARE, None, [Failed(RUNNING, doing("error"))]),
        (RUNNING, None, receipt(2), None, [Finished(RUNNING, Receipt(attempt=2, result=RESULT))]),
        (RUNNING, None, receipt(1), None, [Discard("t", published=True)]),
        (AWAY, None, None, None, []),
        (AWAY, None, BARE, coming(), [StopFetch("t")]),
        (AWAY, None, BARE, coming(ended=True), [Fetched(AWAY)]),
    ],
)
def test_a_full_disk_gets_no_other_byte(
    task: Task, download: Download | None, staged: Staged | None, transfer: Transfer | None, actions: list[Action]
) -> None:
    assert planned(task, download, 2, staged, transfer, full=True) == actions


def test_what_is_held_back_is_not_given_to_the_engine_and_not_taken_from_it() -> None:
    assert planned(QUEUED, held=True) == []
    assert planned(RUNNING, doing("active"), 1, BARE, held=True) == [Drop("t")]
    assert planned(RUNNING, doing("active"), 2, BARE, held=True) == []
    assert planned(AWAY, held=True) == [Fetch(AWAY)], "the engine has no part in that"


def test_the_size_that_the_engine_knows_is_told() -> None:
    active = Download(gid="t", status="active", total=77)
    assert planned(QUEUED, active, 2, BARE) == [Began(QUEUED, 77)]


def test_tasks_of_which_the_same_is_wanted_go_in_step() -> None:
    """Each in its own order, whatever stands between."""
    a, b, c = (msgspec.structs.replace(row(), id=name) for name in "abc")
    gone = Discard("x", published=False)
    actions: list[Action] = [Drop("a"), Publish(c), Drop("b"), Add(a, fresh=True), gone, Add(b, fresh=False)]
    assert in_step(actions) == [
        [[Drop("a"), Add(a, fresh=True)], [Drop("b"), Add(b, fresh=False)]],
        [[Publish(c)]],
        [[gone]],
    ]
    assert in_step([]) == []
