"""The worker's plan: from what the table wants of this node and what is, to the next things to do.

Level-triggered: whatever was missed, restarted or lost, the plan from the present state is the right one. The worker
carries the actions out; each changes what is, so that the next plan is shorter.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

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
    """A task's staging folder on this node. `refused`: what the receipt says was told, and not taken."""

    receipt: Receipt | None
    refused: bool = False


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """How far the bytes of a task are on their way here from another node, for one attempt. `ended`: no more will come, they
    are here or were given up. Bytes, bytes per second."""

    attempt: int
    ended: bool = False
    total: int = 0
    completed: int = 0
    speed: int = 0


class Add(NamedTuple):
    """Hand the task to the engine: resuming from what is staged, or `fresh`, with the staging folder emptied first."""

    task: Task
    fresh: bool


class Drop(NamedTuple):
    """Take the download out of the engine; what is staged stays."""

    gid: str


class Fetch(NamedTuple):
    """Get what the node that had the task before has of it; what is staged here goes first."""

    task: Task


class StopFetch(NamedTuple):
    """What is on its way here is not wanted any more."""

    task_id: str


class Fetched(NamedTuple):
    """Tell the table that no more bytes are to come from elsewhere."""

    task: Task


class Began(NamedTuple):
    """Tell the table that the download runs, and how large it is."""

    task: Task
    size: int


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


Action = Add | Drop | Fetch | StopFetch | Fetched | Began | Publish | Finished | Failed | Discard


def task_of(action: Action) -> str:
    """The id of the task that an action is about. Actions about different tasks may be carried out at the same time."""
    match action:
        case Drop(gid):
            return gid
        case StopFetch(task_id) | Discard(task_id):
            return task_id
    return action.task.id


def in_step(actions: Iterable[Action]) -> list[list[list[Action]]]:
    """The actions of each task, in order, those together that are of the same kinds: they can be carried out in step."""
    chains: dict[str, list[Action]] = {}
    for action in actions:
        chains.setdefault(task_of(action), []).append(action)
    alike: dict[tuple[type, ...], list[list[Action]]] = {}
    for chain in chains.values():
        alike.setdefault(tuple(map(type, chain)), []).append(chain)
    return list(alike.values())


def plan(
    node: str,
    rows: Iterable[Task],
    downloads: Mapping[str, Download],
    attempts: Mapping[str, int],
    staged: Mapping[str, Staged],
    tasks: Mapping[str, Task],
    transfers: Mapping[str, Transfer],
    *,
    held: Collection[str] = (),
    full: bool = False,
) -> list[Action]:
    """What `node` should do next.

    `rows`: the tasks assigned to it. `downloads`: by gid, what its engine has. `attempts`: the attempt that each of them
    was added for. `staged`: its staging folders by task id. `tasks`: the whole table, to judge what is not assigned.
    `transfers`: by task id, what comes from other nodes. `held`: tasks that the engine is not to be given now. `full`: the disk
    has no room for another byte; what is whole is published all the same.
    """
    actions: list[Action] = []
    wanted: set[str] = set()
    fetching: set[str] = set()
    for task in rows:
        wanted.add(task.id)
        folder, download = staged.get(task.id), downloads.get(task.id)
        if task.holder is not None:
            fetching.add(task.id)
            actions.extend(_fetch(task, folder, download, transfers.get(task.id), full))
            continue
        if folder and folder.receipt:
            if folder.receipt.attempt == task.attempt:
                actions.append(Finished(task, folder.receipt))
                continue
            if download is not None:
                actions.append(Drop(task.id))  # never pull the folder away under the engine
            actions.append(Discard(task.id, published=_orphaned(folder, task)))
            if not full and task.id not in held:
                actions.append(Add(task, fresh=True))
            continue
        if download is None or attempts.get(task.id) != task.attempt:
            if download is not None:
                actions.append(Drop(task.id))
            if not full and task.id not in held:
                actions.append(Add(task, fresh=task.bytes_on != node))
        elif full and download.status in ("active", "waiting", "paused"):
            actions.append(Drop(task.id))
        else:
            actions.extend(_follow(task, download))
    # First of all: what still comes must not meet the engine in the same folder.
    actions[:0] = [StopFetch(task_id) for task_id in transfers if task_id not in fetching]
    actions.extend(Drop(gid) for gid in downloads if gid not in wanted)
    for task_id in staged:
        if task_id not in wanted and (action := _judge_folder(node, task_id, staged[task_id], tasks)):
            actions.append(action)
    return actions


def _fetch(
    task: Task, folder: Staged | None, download: Download | None, transfer: Transfer | None, full: bool
) -> Iterable[Action]:
    """Bring the bytes here before anything else is done with the task."""
    if transfer is not None and transfer.attempt == task.attempt:
        if transfer.ended:
            yield Fetched(task)
        elif full:
            yield StopFetch(task.id)
        return
    if download is not None:
        yield Drop(task.id)
    if transfer is not None:
        yield StopFetch(task.id)
    if folder is not None:
        yield Discard(task.id, published=folder.receipt is not None and _orphaned(folder, task))
    if not full:
        yield Fetch(task)


def _follow(task: Task, download: Download) -> Iterable[Action]:
    match download.status:
        case "complete":
            yield Publish(task)
        case "error" | "removed":
            yield Failed(task, download)
        case "active" if task.state is TaskState.QUEUED or 10 * download.total > 11 * task.size:
            # Once more when it turns out larger, as with a magnet link: by steps, for each is an entry of the log.
            yield Began(task, download.total)


def _judge_folder(node: str, task_id: str, folder: Staged, tasks: Mapping[str, Task]) -> Discard | Finished | None:
    """Keep the bytes of a task that may go on here, or that another node is about to fetch; what nobody wants goes. What was
    published before anybody knew that the attempt was ended counts all the same."""
    task = tasks.get(task_id)
    if task is None or task.state is TaskState.CANCELED:
        return Discard(task_id, published=_orphaned(folder, task))
    ours = folder.receipt is not None and task.node == node and folder.receipt.attempt == task.attempt
    if task.state is TaskState.COMPLETED:
        return Discard(task_id, published=not ours and _orphaned(folder, task))
    if folder.receipt is not None and ours:
        return Finished(task, folder.receipt)
    if task.bytes_on != node or folder.receipt is not None:
        return Discard(task_id, published=_orphaned(folder, task))
    return None


def _orphaned(folder: Staged, task: Task | None) -> bool:
    """Was something published that was refused, or for an attempt of this very row, which the caller knows not to have been
    accepted?

    A row that is gone, or that counts from the start again under its old id, tells nothing about the one before: its
    result may have been accepted, and a file too many is better than one too few.
    """
    if folder.receipt is None or folder.refused:
        return folder.refused
    return task is not None and folder.receipt.attempt <= task.attempt
