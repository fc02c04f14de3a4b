"""The worker's plan: from what the table wants of this node and what is, to the next things to do.

Level-triggered: whatever was missed, restarted or lost, the plan from the present state is the right one. The worker
carries the actions out; each changes what is, so that the next plan is shorter.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from .retry import cause
from .task import Result, Task, TaskState


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of one download, followed ones (`followedBy`) folded in. Bytes, bytes per second.

    `status` is aria2's: active, waiting, paused, complete, error, removed.
    """

    gid: str
    status: str
    total: int = 0
    completed: int = 0
    speed: int = 0
    upload_speed: int = 0
    connections: int = 0
    error_code: int = 0
    error_message: str = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Written into a task's staging folder before its files are published: a crash between publishing and the commit
    of `Complete` is healed from it, without a second download."""

    attempt: int
    result: Result


class Staged(NamedTuple):
    """A task's staging folder on this node."""

    receipt: Receipt | None


class Add(NamedTuple):
    """Hand the task to the engine: resuming from what is staged, or `fresh`, with the staging folder emptied first."""

    task: Task
    fresh: bool


class Drop(NamedTuple):
    """Take the download out of the engine; what is staged stays."""

    gid: str


class Began(NamedTuple):
    """Tell the table that the download runs."""

    task: Task


class Publish(NamedTuple):
    """The download is whole: write the receipt, move the files to their place."""

    task: Task


class Finished(NamedTuple):
    """Published already: tell the table."""

    task: Task
    receipt: Receipt


class Failed(NamedTuple):
    """Tell the table how the attempt ended."""

    task: Task
    download: Download


class Discard(NamedTuple):
    """Remove a staging folder that nobody will need, with what it published if that was never accepted."""

    task_id: str
    published: bool


Action = Add | Drop | Began | Publish | Finished | Failed | Discard


def plan(
    node: str,
    rows: Iterable[Task],
    downloads: Mapping[str, Download],
    attempts: Mapping[str, int],
    staged: Mapping[str, Staged],
    tasks: Mapping[str, Task],
) -> list[Action]:
    """What `node` should do next.

    `rows`: the tasks assigned to it. `downloads`: by gid, what its engine has. `attempts`: the attempt that each of them
    was added for. `staged`: its staging folders by task id. `tasks`: the whole table, to judge what is not assigned.
    """
    actions: list[Action] = []
    wanted: set[str] = set()
    for task in rows:
        wanted.add(task.id)
        folder, download = staged.get(task.id), downloads.get(task.id)
        if folder and folder.receipt:
            if folder.receipt.attempt == task.attempt:
                actions.append(Finished(task, folder.receipt))
                continue
            if download is not None:
                actions.append(Drop(task.id))  # never pull the folder away under the engine
            actions.append(Discard(task.id, published=_orphaned(folder, task)))
            actions.append(Add(task, fresh=True))
            continue
        if download is None or attempts.get(task.id) != task.attempt:
            if download is not None:
                actions.append(Drop(task.id))
            actions.append(Add(task, fresh=_useless(node, task)))
        else:
            actions.extend(_follow(task, download))
    actions.extend(Drop(gid) for gid in downloads if gid not in wanted)
    for task_id in staged:
        if task_id not in wanted and (discard := _judge_folder(node, task_id, staged[task_id], tasks)):
            actions.append(discard)
    return actions


def _useless(node: str, task: Task) -> bool:
    """Is what is staged here of no use, by what the last attempt here ran into?"""
    last = next((f for f in reversed(task.failures) if f.node == node), None)
    return last is not None and cause(last.code, last.message).restart


def _follow(task: Task, download: Download) -> Iterable[Action]:
    match download.status:
        case "complete":
            yield Publish(task)
        case "error" | "removed":
            yield Failed(task, download)
        case "active" if task.state is TaskState.QUEUED:
            yield Began(task)


def _judge_folder(node: str, task_id: str, folder: Staged, tasks: Mapping[str, Task]) -> Discard | None:
    """Keep the bytes of a task that may go on here; what another node took over, or nobody wants, goes."""
    task = tasks.get(task_id)
    if task is None or task.node != node or task.state is TaskState.CANCELED:
        return Discard(task_id, published=_orphaned(folder, task))
    if task.state is TaskState.COMPLETED:
        accepted = folder.receipt is not None and folder.receipt.attempt == task.attempt
        return Discard(task_id, published=not accepted and _orphaned(folder, task))
    return None


def _orphaned(folder: Staged, task: Task | None) -> bool:
    """Was something published for an attempt of this very row, which the caller knows not to have been accepted?

    A row that is gone, or that counts from the start again under its old id, tells nothing about the one before: its
    result may have been accepted, and a file too many is better than one too few.
    """
    return task is not None and folder.receipt is not None and folder.receipt.attempt <= task.attempt
