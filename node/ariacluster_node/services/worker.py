"""The worker: makes this node's aria2 do what the table says, and tells the table what came of it.

Level-triggered: every round looks at the rows, the engine and the folders as they are, and carries out the plan.
"""

import secrets
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import structlog

from ariacluster.domain import reconcile, retry
from ariacluster.domain.commands import Command, Complete, Fail, Refusal, Start
from ariacluster.domain.errors import AriaClusterError, InvalidInput, Unavailable
from ariacluster.domain.member import Progress
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
    Staged,
)
from ariacluster.domain.table import Applied
from ariacluster.domain.task import FailureKind, Result, Task
from ariacluster_node.ports import Downloader, Folders, Job

from .replica import Replica
from .wakeup import Wakeup

log = structlog.get_logger()

POLL_PERIOD = 1.0
"""Seconds between looks at the engine when no event comes: the rate of progress reports."""

BREATH = 0.02
"""Seconds to gather events: downloads that end together are told together."""

BAD_OPTION = 28
IO_ERROR = 17
"""aria2's codes for what the worker itself finds."""

MAX_LISTED_BYTES = 16 * 1024
"""Of the paths in a result, and"""

MAX_MESSAGE_CHARS = 1_000
"""of aria2's words in a failure: a command must fit one log entry, or the table would never hear how the task ended."""


class Worker:
    """Runs on every node. `progress` and `trouble` are what its reports say."""

    def __init__(self, replica: Replica, downloader: Downloader, folders: Folders) -> None:
        self._replica = replica
        self._downloader = downloader
        self._folders = folders
        self._attempts: dict[str, int] = {}
        self._downloads: dict[str, Download] = {}
        self._staged: dict[str, Staged] | None = None
        self._wake = Wakeup()
        self.trouble = "it is starting"
        self._on_trouble: list[Callable[[], None]] = []
        self._wake()
        replica.watch(self._on_applied)
        downloader.on_change(self._wake)

    def _on_applied(self, applied: Applied | None) -> None:
        me = self._replica.node_id
        if applied is None or any(row and row.node == me for change in applied.changes for row in change):
            self._wake()

    def on_trouble(self, callback: Callable[[], None]) -> None:
        """Call back when `trouble` came, changed or went."""
        self._on_trouble.append(callback)

    def _tell_trouble(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            for callback in self._on_trouble:
                callback()

    def progress(self) -> dict[str, Progress]:
        """How far this node's downloads are, by task id."""
        return {
            gid: Progress(
                attempt=self._attempts[gid],
                completed=download.completed,
                total=download.total,
                speed=download.speed,
                connections=download.connections,
                active=download.status == "active",
            )
            for gid, download in self._downloads.items()
            if gid in self._attempts
        }

    async def run(self) -> None:
        """Until cancelled."""
        self._staged = None  # an earlier run may have been cancelled in the middle of something
        while True:
            await self._wake.wait(POLL_PERIOD, breath=BREATH)
            try:
                await self._round()
            except AriaClusterError as error:
                log.warning("round put off", reason=error.detail)

    async def _round(self) -> None:
        try:
            self._downloads = await self._downloader.poll()
        except Unavailable as error:
            self._downloads = {}
            self._tell_trouble(error.detail)
            return
        self._attempts = {gid: attempt for gid, attempt in self._attempts.items() if gid in self._downloads}
        self._tell_trouble(await self._folders.trouble())
        if self.trouble:
            return
        # Only a table that has caught up may judge what lies here: an old one would throw away what it does not know.
        if not self._replica.settled or (self._staged is None and not self._replica.ready):
            return
        if self._staged is None:
            self._staged = await self._folders.staged()
        table = self._replica.table
        me = self._replica.node_id
        actions = reconcile.plan(me, table.assigned_to(me), self._downloads, self._attempts, self._staged, table.tasks)
        news: list[Command] = []
        for action in actions:
            news += await self._do(action)
        if news:
            await self._tell(news)
            self._wake()

    async def _tell(self, news: list[Command]) -> None:
        for command, outcome in zip(news, await self._replica.propose(news), strict=True):
            if isinstance(outcome, Refusal):
                log.info("superseded", task=command.task, reason=outcome.detail)  # type: ignore[union-attr]

    async def _do(self, action: Action) -> list[Command]:
        """Carry out one action; what the table must hear of it."""
        return await self._DO[type(action)](self, action)

    async def _add(self, action: Add) -> list[Command]:
        task, staged = action.task, self._known_folders()
        try:
            folder = await self._folders.open(task.id, fresh=action.fresh)
        except Unavailable as error:
            return [self._failed(task, IO_ERROR, error.detail)]
        staged[task.id] = Staged(None)
        job = Job(
            gid=task.id,
            urls=task.spec.urls,
            folder=folder,
            out=task.spec.out,
            options=task.spec.options,
            headers=task.spec.headers,
            checksum=task.spec.checksum,
        )
        try:
            await self._downloader.add(job)
        except InvalidInput as error:
            return [self._failed(task, BAD_OPTION, error.detail)]
        self._attempts[task.id] = task.attempt
        log.info("download added", task=task.id, attempt=task.attempt, resume=not action.fresh)
        return []

    async def _drop(self, action: Drop) -> list[Command]:
        await self._downloader.remove(action.gid)
        self._attempts.pop(action.gid, None)
        self._downloads.pop(action.gid, None)
        log.info("download dropped", task=action.gid)
        return []

    async def _began(self, action: Began) -> list[Command]:
        return [Start(action.task.id, action.task.attempt)]

    async def _publish(self, action: Publish) -> list[Command]:
        task = action.task
        try:
            receipt = await self._folders.publish(task.id, task.attempt, task.spec.dir)
        except Unavailable as error:
            await self._downloader.remove(task.id)
            return [self._failed(task, IO_ERROR, error.detail)]
        self._known_folders()[task.id] = Staged(receipt)
        log.info("published", task=task.id, files=receipt.result.file_count, bytes=receipt.result.total_bytes)
        return [Complete(task.id, task.attempt, _fitting(receipt.result))]

    async def _finished(self, action: Finished) -> list[Command]:
        return [Complete(action.task.id, action.task.attempt, _fitting(action.receipt.result))]

    async def _fail(self, action: Failed) -> list[Command]:
        download = action.download
        meaning = retry.cause(download.error_code, download.error_message)
        said = f" aria2 said: {download.error_message.rstrip('. ')}." if download.error_message else ""
        log.warning("attempt failed", task=action.task.id, code=download.error_code, aria2=download.error_message)
        return [self._failed(action.task, download.error_code, f"{meaning.sentence}{said}")]

    async def _discard(self, action: Discard) -> list[Command]:
        await self._folders.discard(action.task_id, published=action.published)
        self._known_folders().pop(action.task_id, None)
        return []

    def _known_folders(self) -> dict[str, Staged]:
        assert self._staged is not None  # a plan is made only from known folders
        return self._staged

    @staticmethod
    def _failed(task: Task, code: int, message: str) -> Fail:
        kind = FailureKind.NODE if code == IO_ERROR else retry.cause(code, message).kind
        return Fail(task.id, task.attempt, kind, code, message[:MAX_MESSAGE_CHARS], secrets.randbelow(1000) / 1000)

    _DO: dict[type, Callable[["Worker", Any], Coroutine[Any, Any, list[Command]]]] = {  # noqa: RUF012
        Add: _add,
        Drop: _drop,
        Began: _began,
        Publish: _publish,
        Finished: _finished,
        Failed: _fail,
        Discard: _discard,
    }


def _fitting(result: Result) -> Result:
    """The result with as many of its files as one command has room for; the counts stay whole."""
    room, files = MAX_LISTED_BYTES, result.files
    for count, entry in enumerate(files):
        room -= len(entry.path.encode())
        if room < 0:
            return msgspec.structs.replace(result, files=files[:count])
    return result
