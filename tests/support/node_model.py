"""A node in miniature: an engine and its folders as plain data, that carries out plans and refuses to do harm.

It asserts what a real node could not undo: a folder pulled away under the engine, an attempt published that was over
when the plan was made, an accepted file deleted, bytes thrown away that the table says are here.
"""

from ariacluster.domain import retry
from ariacluster.domain.commands import Command, Complete, Fail, Start, Took
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
    plan,
)
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import FINAL, FileEntry, Result, Task, TaskState


class NodeModel:
    """Node `id`, with what its engine runs, what its staging folders hold, what comes from other nodes and what it has
    published."""

    def __init__(self, id: str, table: TaskTable) -> None:
        self.id = id
        self.table = table
        self.downloads: dict[str, Download] = {}
        self.attempts: dict[str, int] = {}
        self.staged: dict[str, Staged] = {}
        self.transfers: dict[str, Transfer] = {}
        self.published: dict[str, Receipt] = {}
        self.accepted: dict[str, Receipt] = {}
        """Results that the cluster has promised to somebody."""
        self.held: set[str] = set()
        self.full = False

    def plan(self) -> list[Action]:
        actions = plan(
            self.id,
            list(self.table.assigned_to(self.id)),
            self.downloads,
            self.attempts,
            self.staged,
            self.table.tasks,
            self.transfers,
            held=self.held,
            full=self.full,
        )
        for action in actions:
            match action:
                case Publish(task):
                    row = self.table.tasks[task.id]
                    assert row.assigned_to == self.id
                    assert row.attempt == task.attempt == self.attempts[row.id], "published for an attempt that is over"
                    assert self.downloads[row.id].status == "complete"
                case Add(task, _) | Fetch(task):
                    assert not self.full, "the disk has no room for another byte"
                    assert isinstance(action, Fetch) or task.id not in self.held
        return actions

    def perform(self, action: Action, *, dice: float = 0.5) -> Command | None:
        """Carry out one action; what the table is to hear of it."""
        match action:
            case Add(task, fresh):
                self._add(task, fresh)
            case Drop(gid):
                del self.downloads[gid]
                self.attempts.pop(gid, None)
            case Fetch(task):
                assert task.id not in self.downloads, "fetched into the folder of a running download"
                assert task.id not in self.staged, "what is here is not mixed with what comes"
                assert task.id not in self.transfers, "it is on its way already"
                self.staged[task.id] = Staged(None)
                self.transfers[task.id] = Transfer(attempt=task.attempt)
            case StopFetch(task_id):
                del self.transfers[task_id]
            case Discard(task_id, published):
                self._discard(task_id, published)
            case Publish(task):
                assert task.id in self.staged
                assert task.id not in self.transfers or self.transfers[task.id].ended
                receipt = Receipt(attempt=task.attempt, result=result_of(task, self.downloads[task.id].completed))
                self.staged[task.id] = Staged(receipt)
                self.published[task.id] = receipt
                return Complete(task.id, task.attempt, receipt.result)
            case Fetched(task):
                transfer = self.transfers[task.id]
                assert transfer.ended and transfer.attempt == task.attempt, "it is still on its way"
                return Took(task.id, task.attempt)
            case Began(task, size):
                return Start(task.id, task.attempt, size)
            case Finished(task, receipt):
                return Complete(task.id, task.attempt, receipt.result)
            case Failed(task, download):
                code, said = download.error_code, download.error_message
                meaning = retry.cause(code, said)
                sentence = f"{meaning.sentence} aria2 said: {said}" if said else meaning.sentence
                return Fail(task.id, task.attempt, meaning.kind, code, sentence, dice)
        return None

    def _add(self, task: Task, fresh: bool) -> None:
        assert task.id not in self.downloads, "the engine would refuse a gid that it has"
        assert task.holder is None, "it goes on without the bytes that lie elsewhere"
        transfer = self.transfers.get(task.id)
        assert transfer is None or transfer.ended, "downloaded into the folder that bytes still come into"
        folder = self.staged.get(task.id)
        assert folder is None or folder.receipt is None, "a published folder is not for downloading"
        assert not (fresh and self.holds_bytes_of(task)), "the table says that its bytes are here"
        self.staged[task.id] = Staged(None)
        self.downloads[task.id] = Download(gid=task.id, status="active")
        self.attempts[task.id] = task.attempt

    def holds_bytes_of(self, task: Task) -> bool:
        """Does the table name this node as the one that has what was fetched of an unfinished task?"""
        folder = self.staged.get(task.id)
        return (
            folder is not None
            and folder.receipt is None
            and task.bytes_on == self.id
            and (task.state not in FINAL or task.state is TaskState.FAILED)
        )

    def _discard(self, task_id: str, published: bool) -> None:
        assert task_id not in self.downloads, "the folder of a running download"
        transfer = self.transfers.get(task_id)
        assert transfer is None or transfer.ended, "the folder that bytes still come into"
        row = self.table.tasks.get(task_id)
        assert row is None or not self.holds_bytes_of(row), "the table says that its bytes are here"
        if published:
            self._delete_published(task_id)
        del self.staged[task_id]

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

    def restarts(self) -> None:
        """The whole node begins anew: folders stay, nothing is on its way any more."""
        self.engine_dies()
        self.transfers.clear()

    def engine_says(self, gid: str, download: Download) -> None:
        if gid in self.downloads:
            self.downloads[gid] = download

    def transfer_ends(self, task_id: str) -> None:
        """No more comes of this task: all is here, or it was given up."""
        if transfer := self.transfers.get(task_id):
            self.transfers[task_id] = Transfer(attempt=transfer.attempt, ended=True)


def result_of(task: Task, length: int) -> Result:
    name = task.spec.out or task.spec.urls[0].rpartition("/")[2]
    path = f"{task.spec.dir}/{name}" if task.spec.dir else name
    return Result(total_bytes=length, file_count=1, files=(FileEntry(path, length),))
