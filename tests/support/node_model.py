"""A node in miniature: an engine and its folders as plain data, that carries out plans and refuses to do harm.

It asserts what a real node could not undo: a folder pulled away under the engine, an attempt published that was over
when the plan was made, an accepted file deleted.
"""

from ariacluster.domain import retry
from ariacluster.domain.commands import Command, Complete, Fail, Start
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
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import FileEntry, Result, Task, TaskState


class NodeModel:
    """Node `id`, with what its engine runs, what its staging folders hold and what it has published."""

    def __init__(self, id: str, table: TaskTable) -> None:
        self.id = id
        self.table = table
        self.downloads: dict[str, Download] = {}
        self.attempts: dict[str, int] = {}
        self.staged: dict[str, Staged] = {}
        self.published: dict[str, Receipt] = {}
        self.accepted: dict[str, Receipt] = {}
        """Results that the cluster has promised to somebody."""

    def plan(self) -> list[Action]:
        actions = plan(
            self.id,
            list(self.table.assigned_to(self.id)),
            self.downloads,
            self.attempts,
            self.staged,
            self.table.tasks,
        )
        for action in actions:
            if isinstance(action, Publish):
                row = self.table.tasks[action.task.id]
                assert row.assigned_to == self.id
                assert row.attempt == action.task.attempt == self.attempts[row.id], (
                    "published for an attempt that is over"
                )
                assert self.downloads[row.id].status == "complete"
        return actions

    def perform(self, action: Action, *, dice: float = 0.5) -> Command | None:
        """Carry out one action; what the table is to hear of it."""
        match action:
            case Add(task, _):
                assert task.id not in self.downloads, "the engine would refuse a gid that it has"
                folder = self.staged.get(task.id)
                assert folder is None or folder.receipt is None, "a published folder is not for downloading"
                self.staged[task.id] = Staged(None)
                self.downloads[task.id] = Download(gid=task.id, status="active")
                self.attempts[task.id] = task.attempt
            case Drop(gid):
                del self.downloads[gid]
                self.attempts.pop(gid, None)
            case Discard(task_id, published):
                assert task_id not in self.downloads, "the folder of a running download"
                if published:
                    self._delete_published(task_id)
                del self.staged[task_id]
            case Publish(task):
                assert task.id in self.staged
                receipt = Receipt(attempt=task.attempt, result=result_of(task, self.downloads[task.id].completed))
                self.staged[task.id] = Staged(receipt)
                self.published[task.id] = receipt
                return Complete(task.id, task.attempt, receipt.result)
            case Began(task):
                return Start(task.id, task.attempt)
            case Finished(task, receipt):
                return Complete(task.id, task.attempt, receipt.result)
            case Failed(task, download):
                code, said = download.error_code, download.error_message
                meaning = retry.cause(code, said)
                sentence = f"{meaning.sentence} aria2 said: {said}" if said else meaning.sentence
                return Fail(task.id, task.attempt, meaning.kind, code, sentence, dice)
        return None

    def _delete_published(self, task_id: str) -> None:
        receipt = self.staged[task_id].receipt
        assert receipt is not None
        accepted = self.accepted.get(task_id)
        assert accepted is None or accepted.attempt != receipt.attempt, "an accepted result was deleted"
        if self.published.get(task_id) == receipt:
            del self.published[task_id]

    def note_accepted(self) -> None:
        """Remember what the table says is done here; call after every change of the table."""
        for task_id in self.table.by_state[TaskState.COMPLETED].values():
            row = self.table.tasks[task_id]
            if row.node == self.id and row.result is not None:
                self.accepted[task_id] = Receipt(attempt=row.attempt, result=row.result)

    def engine_dies(self) -> None:
        """It comes back empty; folders stay."""
        self.downloads.clear()
        self.attempts.clear()

    def engine_says(self, gid: str, download: Download) -> None:
        if gid in self.downloads:
            self.downloads[gid] = download


def result_of(task: Task, length: int) -> Result:
    name = task.spec.out or task.spec.urls[0].rpartition("/")[2]
    path = f"{task.spec.dir}/{name}" if task.spec.dir else name
    return Result(total_bytes=length, file_count=1, files=(FileEntry(path, length),))
