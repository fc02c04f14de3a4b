"""The worker's hands: they do what its plan says, each thing for all the tasks that need it at once.

A small file costs what it costs aria2, the disk and the log; so they are asked for many of them together. Each action
answers what the table must hear of it, or what was in its way: the other tasks have nothing to do with that.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import structlog

from ariacluster.domain.commands import Command, Measure, Start, Took
from ariacluster.domain.errors import AriaClusterError, InvalidInput, Unavailable
from ariacluster.domain.intake import is_document
from ariacluster.domain.origins import links_of
from ariacluster.domain.reconcile import (
    Action,
    Add,
    Began,
    Discard,
    Drop,
    Failed,
    Fetch,
    Fetched,
    Finished,
    Publish,
    Staged,
    StopFetch,
)
from ariacluster.domain.task import FailureKind, Task, TaskState
from ariacluster_node.ports import Discarding, Folders, Opening, Publishing

from . import verdicts
from .asking import About, Asking, changed
from .engine import Begin, Engine
from .replica import Replica
from .staging import Staging
from .surroundings import Surroundings
from .transfers import Transfers

log = structlog.get_logger()

SMALL = 8 * 1024 * 1024
"""Bytes that are on the disk in a moment."""

Outcome = list[Command] | AriaClusterError
"""Of an action: what the table must hear, or why it was not carried out."""


class Hands:
    """`carry_out` is for the worker's rounds; nothing is remembered but which downloads were resumed."""

    def __init__(
        self,
        replica: Replica,
        engine: Engine,
        folders: Folders,
        staging: Staging,
        *,
        around: Surroundings,
        asking: Asking,
        transfers: Transfers,
    ) -> None:
        self._replica = replica
        self._engine = engine
        self._folders = folders
        self._staging = staging
        self._around = around
        self._asking = asking
        self._transfers = transfers
        self._resumed: set[str] = set()

    def keep(self, wanted: Iterable[str]) -> None:
        """Forget all tasks but these."""
        self._resumed.intersection_update(wanted)

    async def carry_out(self, chains: Sequence[Sequence[Action]]) -> tuple[list[Command], AriaClusterError | None]:
        """Chains of actions of the same kinds, in step; what the table must hear of them, and what was in the way of the rest
        of one."""
        news: list[Command] = []
        hindrance: AriaClusterError | None = None
        while chains and chains[0]:
            step = [chain[0] for chain in chains]
            outcomes = await self._DO[type(step[0])](self, step)
            going = []
            for chain, outcome in zip(chains, outcomes, strict=True):
                if isinstance(outcome, AriaClusterError):
                    hindrance = hindrance or outcome
                else:
                    news += outcome
                    going.append(chain[1:])
            chains = going
        return news, hindrance

    # -- begin --------------------------------------------------------------------------------------------------

    async def _add(self, actions: Sequence[Add]) -> list[Outcome]:
        """Those that need a document may have to wait for another node: each of them by itself."""
        plain = [action for action in actions if action.task.spec.document is None]
        parts = [plain, *([action] for action in actions if action.task.spec.document is not None)]
        async with asyncio.TaskGroup() as group:
            works = [group.create_task(self._add_some(part)) for part in parts if part]
        told = {task_id: outcome for work in works for task_id, outcome in work.result().items()}
        return [told[action.task.id] for action in actions]

    async def _add_some(self, actions: Sequence[Add]) -> dict[str, Outcome]:
        told: dict[str, Outcome] = {}
        begun: list[tuple[Task, bool]] = []
        for task, fresh in actions:
            told[task.id] = []
            if not fresh and task.id in self._staging.known and (task.size or task.validator):
                answer = self._asking.take(About.RESUME, task)
                if answer is None:
                    continue
                if (probe := answer.probe) and changed(task, probe):
                    log.warning("changed at the origin", task=task.id, size=probe.size, validator=probe.validator)
                    fresh, told[task.id] = True, [measure(task, probe.size, probe.validator)]
            begun.append((task, fresh))
        for (task, _), outcome in zip(begun, await self._begin(begun), strict=True):
            news = told[task.id]
            assert isinstance(news, list)
            if not isinstance(outcome, AriaClusterError):
                told[task.id] = news + outcome
            elif not isinstance(outcome, Unavailable) or not news:
                told[task.id] = outcome
            # Else what was thrown away must be told, else it is thrown away once more.
        return told

    async def _begin(self, works: Sequence[tuple[Task, bool]]) -> list[Outcome]:
        """Tasks, and whether each begins anew. Those that went away while others were seen to are left alone: another node may
        be reading their bytes by now."""
        told: dict[str, Outcome] = {}
        mine = [(task, fresh) for task, fresh in works if self._is_mine(task)]
        resumes = {task.id for task, fresh in mine if not fresh and task.id in self._staging.known}
        ready: list[Begin] = []
        folders = await self._folders.open_all([Opening(task.id, fresh) for task, fresh in mine]) if mine else []
        for (task, _), folder in zip(mine, folders, strict=True):
            if isinstance(folder, Unavailable):
                told[task.id] = [verdicts.failed(task, verdicts.IO_ERROR, folder.detail)]
                continue
            self._staging.known[task.id] = Staged(None)
            (self._resumed.add if task.id in resumes else self._resumed.discard)(task.id)
            try:
                out = await self._begun_as(task) if task.id in resumes else None
            except AriaClusterError as error:
                told[task.id] = error
                continue
            ready.append(Begin(task, folder, out))
        ready = [begin for begin in ready if self._is_mine(begin.task)]
        errors = await self._engine.add_all(ready) if ready else []
        for (task, *_), refusal in zip(ready, errors, strict=True):
            if isinstance(refusal, InvalidInput):
                told[task.id] = [verdicts.failed(task, verdicts.BAD_OPTION, refusal.detail)]
            elif refusal is not None:
                told[task.id] = refusal
            else:
                say = log.info if task.id in resumes else log.debug
                say("download added", task=task.id, attempt=task.attempt, resume=task.id in resumes)
        return [told.get(task.id, []) for task, _ in works]

    async def _begun_as(self, task: Task) -> str | None:
        """What the file that is to go on is called: another link may lead to another name, and aria2 would begin a file of that
        name beside it."""
        if task.spec.out or task.spec.document or any(map(is_document, task.spec.urls)):
            return None
        return await self._folders.begun_as(task.id)

    def _is_mine(self, task: Task) -> bool:
        row = self._replica.table.tasks.get(task.id)
        return row is not None and row.attempt == task.attempt and row.assigned_to == self._replica.node_id

    async def _drop(self, actions: Sequence[Drop]) -> list[Outcome]:
        running = [self._engine.runs(action.gid) for action in actions]
        errors = await self._engine.drop_all([action.gid for action in actions])
        for action, ran, error in zip(actions, running, errors, strict=True):
            if ran and error is None:
                log.info("download stopped", task=action.gid, why=self._why_not_here(action.gid))
        return [error or [] for error in errors]

    def _why_not_here(self, task_id: str) -> str:
        row = self._replica.table.tasks.get(task_id)
        if row is None:
            return "it was removed"
        if row.assigned_to is None:
            return f"it is {row.state}"
        return "it waits here" if row.assigned_to == self._replica.node_id else "another node has it now"

    async def _began(self, actions: Sequence[Began]) -> list[Outcome]:
        return [await self._each(self._begins(action)) for action in actions]

    async def _begins(self, action: Began) -> list[Command]:
        task, size = action
        begins = task.state is TaskState.QUEUED
        differs = (
            begins and bool(size and task.size and size != task.size) and not any(map(is_document, task.spec.urls))
        )
        if differs and task.id in self._resumed:
            log.warning("changed at the origin", task=task.id, size=size, begun_with=task.size)
            await self._engine.drop(task.id)
            [outcome] = await self._begin([(task, True)])
            if isinstance(outcome, AriaClusterError):
                raise outcome
            return [measure(task, size), *outcome]
        if differs or (begins and not (task.size or task.validator)):
            self._asking.take(About.SIZE, task)
        if task.spec.document is not None:
            size = max(size, task.size)  # of a Metalink aria2 counts no file that it has not begun
        return [Start(task.id, task.attempt, size)]

    # -- bytes from elsewhere -----------------------------------------------------------------------------------

    async def _fetch(self, actions: Sequence[Fetch]) -> list[Outcome]:
        for action in actions:
            if self._is_mine(action.task):
                self._transfers.begin(action.task)
                self._staging.known[action.task.id] = Staged(None)
        return [[] for _ in actions]

    async def _stop_fetch(self, actions: Sequence[StopFetch]) -> list[Outcome]:
        for action in actions:
            await self._transfers.drop(action.task_id)
        return [[] for _ in actions]

    async def _fetched(self, actions: Sequence[Fetched]) -> list[Outcome]:
        return [[Took(action.task.id, action.task.attempt)] for action in actions]

    # -- end ----------------------------------------------------------------------------------------------------

    async def _publish(self, actions: Sequence[Publish]) -> list[Outcome]:
        """What is large may keep the disk busy for many seconds: everything else goes on meanwhile."""
        tasks = [task for (task,) in actions if self._is_small(task) or self._asking.take(About.DISK, task) is not None]
        receipts = await self._folders.publish_all([Publishing(t.id, t.attempt, t.spec.dir) for t in tasks])
        failed = [task.id for task, receipt in zip(tasks, receipts, strict=True) if isinstance(receipt, Unavailable)]
        dropped: dict[str, AriaClusterError | None] = {}
        faulty = self._around.condition.faulty  # the node's fault, known already: it can wait
        if failed and not faulty:
            dropped = dict(zip(failed, await self._engine.drop_all(failed), strict=True))
        told: dict[str, Outcome] = {}
        for task, receipt in zip(tasks, receipts, strict=True):
            if isinstance(receipt, Unavailable):
                failure: list[Command] = [verdicts.failed(task, verdicts.IO_ERROR, receipt.detail)]
                told[task.id] = receipt if faulty else dropped[task.id] or failure
                continue
            self._staging.known[task.id] = Staged(receipt)
            self._engine.acquit(task)
            log.info("published", task=task.id, files=receipt.result.file_count, bytes=receipt.result.total_bytes)
            told[task.id] = [verdicts.completed(task, receipt)]
        return [told.get(action.task.id, []) for action in actions]

    def _is_small(self, task: Task) -> bool:
        download = self._engine.downloads.get(task.id)
        return download is not None and download.total <= SMALL

    async def _finished(self, actions: Sequence[Finished]) -> list[Outcome]:
        return [[verdicts.completed(action.task, action.receipt)] for action in actions]

    async def _fail(self, actions: Sequence[Failed]) -> list[Outcome]:
        return [self._fails(action) for action in actions]

    def _fails(self, action: Failed) -> list[Command]:
        task, download = action
        retry_after = 0
        if verdicts.meaning(download).kind is FailureKind.THROTTLED:
            answer = self._asking.take(About.PATIENCE, task)
            if answer is None:
                return []
            if answer.probe is not None and answer.probe.status in (429, 503):
                retry_after = answer.probe.retry_after
        log.warning("attempt failed", task=task.id, code=download.error_code, aria2=download.error_message)
        return [verdicts.failed_by(task, download, retry_after=retry_after)]

    async def _discard(self, actions: Sequence[Discard]) -> list[Outcome]:
        errors = await self._folders.discard_all([Discarding(*action) for action in actions])
        for action, error in zip(actions, errors, strict=True):
            if error is None:
                if action.published:
                    log.warning("published for an attempt that was over: removed", task=action.task_id)
                self._staging.known.pop(action.task_id, None)
        return [error or [] for error in errors]

    @staticmethod
    async def _each(work: Coroutine[Any, Any, list[Command]]) -> Outcome:
        try:
            return await work
        except AriaClusterError as error:
            return error

    _DO: dict[type, Callable[["Hands", Any], Coroutine[Any, Any, list[Outcome]]]] = {  # noqa: RUF012
        Add: _add,
        Drop: _drop,
        Fetch: _fetch,
        StopFetch: _stop_fetch,
        Fetched: _fetched,
        Began: _began,
        Publish: _publish,
        Finished: _finished,
        Failed: _fail,
        Discard: _discard,
    }


def measure(task: Task, size: int, validator: str = "") -> Measure:
    """What the origin says of it by now."""
    return Measure(task.id, size, validator, links_of(task.spec))
