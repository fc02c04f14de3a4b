"""The worker: makes this node's aria2 do what the table says, and tells the table what came of it.

Level-triggered: every round looks at the rows, the engine and the folders as they are, and carries out the plan. What takes
long (other nodes, servers) is asked in the background; the round in which it is known goes on with it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from ariacluster.domain import reconcile
from ariacluster.domain.commands import Command, Complete, Measure, Refusal, Start, Took
from ariacluster.domain.condition import Condition
from ariacluster.domain.errors import AriaClusterError, InvalidInput, Unavailable
from ariacluster.domain.intake import is_document
from ariacluster.domain.member import Progress
from ariacluster.domain.origins import links_of
from ariacluster.domain.pace import Pace
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
    Transfer,
)
from ariacluster.domain.suspects import Run
from ariacluster.domain.table import Applied
from ariacluster.domain.task import FailureKind, Task, TaskState
from ariacluster_node.ports import Downloader, Folders, Machine

from . import verdicts
from .asking import About, Asking, answered, changed
from .documents import Documents
from .engine import Engine
from .replica import Replica
from .secrets import Secrets
from .staging import Staging
from .surroundings import Surroundings
from .transfers import Transfers
from .wakeup import Wakeup

log = structlog.get_logger()

POLL_PERIOD = 1.0
"""Seconds between looks at the engine when no event comes: the rate of progress reports."""

BREATH = 0.02
"""Seconds to gather events: downloads that end together are told together."""


HANDS = 6
"""Tasks that are seen to at a time: much of it is waiting for the disk, and more threads only wait for each other."""


class Worker:
    """Runs on every node. `progress`, `trouble`, `pressed` and `pace` are what its reports say."""

    def __init__(
        self,
        replica: Replica,
        downloader: Downloader,
        folders: Folders,
        *,
        machine: Machine,
        asking: Asking,
        transfers: Transfers,
        secrets: Secrets,
        documents: Documents,
    ) -> None:
        self._replica = replica
        self._engine = Engine(downloader, _now, secrets, documents)
        self._around = Surroundings(folders, machine, _now)
        self._folders = folders
        self._asking = asking
        self._transfers = transfers
        self._staging = Staging(folders, _now)
        self._resumed: set[str] = set()
        self._pace = Pace()
        self._hands = asyncio.Semaphore(HANDS)
        self._wake = Wakeup()
        self.trouble = "it is starting"
        self._on_trouble: list[Callable[[], None]] = []
        self._wake()
        replica.watch(self._on_applied)
        downloader.on_change(self._wake)

    # -- for the others -----------------------------------------------------------------------------------------

    def on_trouble(self, callback: Callable[[], None]) -> None:
        """Call back when `trouble` came, changed or went."""
        self._on_trouble.append(callback)

    def progress(self) -> dict[str, Progress]:
        """How far this node's downloads are, by task id; those that come from another node too."""
        told = {
            gid: Progress(
                attempt=self._engine.attempts[gid],
                completed=download.completed,
                total=download.total,
                speed=download.speed,
                connections=download.connections,
                active=download.status == "active",
            )
            for gid, download in self._engine.downloads.items()
            if self._engine.attempts.get(gid)
        }
        for task_id, transfer in self._on_their_way().items():
            told[task_id] = Progress(
                attempt=transfer.attempt,
                completed=transfer.completed,
                total=transfer.total,
                speed=transfer.speed,
                active=not transfer.ended,
            )
        return told

    @property
    def pressed(self) -> bool:
        """Should what runs here go elsewhere?"""
        return self._condition.pressed

    @property
    def pace(self) -> float:
        """Tasks that this node finishes per second, lately."""
        return self._pace.after(0, _now()).rate

    def writes(self, task_id: str) -> bool:
        """Has the engine, or may it have, a download of the task? False only once it has let go of the files."""
        return self._engine.writes(task_id)

    # -- the loop -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        self._staging.forget()  # an earlier run may have been cancelled in the middle of something
        async with asyncio.TaskGroup() as group:
            self._transfers.attach(group, self._wake)
            self._asking.attach(group, self._wake)
            while True:
                await self._wake.wait(POLL_PERIOD, breath=BREATH)
                try:
                    await self._round()
                except AriaClusterError as error:
                    log.warning("round put off", reason=error.detail)

    async def _round(self) -> None:
        await self._look()
        if not await self._knows_folders():
            return
        table, me = self._replica.table, self._replica.node_id
        await self._engine.tune(table.members.get(me), table.policy)
        rows = list(table.assigned_to(me))
        self._forget_all_but(rows)
        news = self._convictions(rows) + self._learned()
        async with asyncio.TaskGroup() as group:
            works = [group.create_task(self._carry_out(chain)) for chain in _chains(self._plan(rows))]
        news += [command for work in works for command in work.result()[0]]
        if news:
            await self._tell(news)
            self._wake()
        if put_off := next((error for work in works if (error := work.result()[1])), None):
            raise put_off

    async def _carry_out(self, chain: Sequence[Action]) -> tuple[list[Command], AriaClusterError | None]:
        """What is to be done for one task, in order; what the table must hear of it, and what was in the way of the rest. The
        other tasks have nothing to do with that."""
        news: list[Command] = []
        async with self._hands:
            for action in chain:
                try:
                    news += await self._DO[type(action)](self, action)
                except AriaClusterError as error:
                    return news, error
        return news, None

    def _on_applied(self, applied: Applied | None) -> None:
        me = self._replica.node_id
        if (
            applied is None
            or applied.members_changed
            or applied.policy_changed
            or any(row and row.node == me for change in applied.changes for row in change)
        ):
            self._wake()

    async def _tell(self, news: list[Command]) -> None:
        for command, outcome in zip(news, await self._replica.propose(news), strict=True):
            if isinstance(outcome, Refusal):
                log.info("superseded", task=command.task, reason=outcome.detail)  # type: ignore[union-attr]
            elif isinstance(command, Complete):
                self._pace = self._pace.after(1, _now())

    # -- what is ------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        before = self.trouble
        condition = await self._around.look(await self._engine.look(), self._replica.table.policy)
        self.trouble = condition.trouble
        if self.trouble != before:
            for callback in self._on_trouble:
                callback()

    async def _knows_folders(self) -> bool:
        """Only a table that has caught up may judge what lies here: an old one would throw away what it does not know."""
        staging, ready = self._staging, self._replica.ready
        if not self._replica.settled or not (staging.is_known or ready):
            return False
        if staging.is_due and ready:
            await staging.look(self._on_their_way())
            for gid in self._engine.disown(staging.known):
                log.warning("folder vanished under a download", task=gid)
        return True

    def _forget_all_but(self, rows: Sequence[Task]) -> None:
        mine = {task.id for task in rows}
        self._resumed &= mine
        self._asking.keep({(task.id, task.attempt) for task in rows})

    # -- what is to be done -------------------------------------------------------------------------------------

    def _plan(self, rows: Sequence[Task]) -> list[Action]:
        held, faulty = self._engine.held_back(rows), self._condition.faulty
        alone: list[Action] = [] if faulty else [Drop(gid) for gid in sorted(held) if self._engine.runs(gid)]
        if faulty:
            held = {task.id for task in rows}
        planned = reconcile.plan(
            self._replica.node_id,
            rows,
            self._engine.downloads,
            self._engine.attempts,
            self._staging.known,
            self._replica.table.tasks,
            self._on_their_way(),
            held=held,
            full=self._condition.full,
        )
        return alone + [action for one in planned if (action := self._despite(one) if faulty else one) is not None]

    def _despite(self, action: Action) -> Action | None:
        """What remains of an action while the node has a fault: that fault must fail no task, and begin none."""
        match action:
            case Fetch():
                return None
            case Failed(task, download) if verdicts.meaning(download).kind is FailureKind.NODE:
                return Drop(task.id)
            case Discard(task_id) if self._engine.down and self.writes(task_id):
                return None  # an engine that does not answer may write still
        return action

    def _convictions(self, rows: Sequence[Task]) -> list[Command]:
        """Tasks that bring the engine down are not tried again here."""
        tasks = {Run(task.id, task.attempt): task for task in rows}
        news: list[Command] = []
        for run, ends in self._engine.guilty:
            if (task := tasks.get(run)) is not None:
                log.error("a download ends the engine", task=run.task_id, ends=ends)
                news.append(verdicts.ends_engine(task, ends))
        return news

    def _learned(self) -> list[Command]:
        """What origins said of files whose size nobody knew."""
        news: list[Command] = []
        for task_id, _ in self._asking.under_way(About.SIZE):
            task = self._replica.table.tasks.get(task_id)
            answer = self._asking.take(About.SIZE, task) if task else None
            if task and answer and (probe := answer.probe) and answered(probe) and (probe.size or probe.validator):
                news.append(_measure(task, probe.size, probe.validator))
        return news

    # -- the actions: each answers what the table must hear of it -----------------------------------------------

    async def _add(self, action: Add) -> list[Command]:
        task, fresh = action.task, action.fresh
        news: list[Command] = []
        if not fresh and task.id in self._staging.known and (task.size or task.validator):
            answer = self._asking.take(About.RESUME, task)
            if answer is None:
                return []
            if (probe := answer.probe) and changed(task, probe):
                log.warning("changed at the origin", task=task.id, size=probe.size, validator=probe.validator)
                fresh, news = True, [_measure(task, probe.size, probe.validator)]
        try:
            return news + await self._begin(task, fresh=fresh)
        except Unavailable:
            if not news:
                raise
            return news  # what was thrown away must be told, else it is thrown away once more

    async def _begin(self, task: Task, *, fresh: bool) -> list[Command]:
        staged = self._staging.known
        if not self._is_mine(task):
            return []  # it went away while others were seen to: another node may be reading its bytes by now
        resumes = not fresh and task.id in staged
        try:
            folder = await self._folders.open(task.id, fresh=fresh)
        except Unavailable as error:
            return [verdicts.failed(task, verdicts.IO_ERROR, error.detail)]
        staged[task.id] = Staged(None)
        if not self._is_mine(task):
            return []
        (self._resumed.add if resumes else self._resumed.discard)(task.id)
        try:
            await self._engine.add(task, folder, await self._begun_as(task) if resumes else None)
        except InvalidInput as error:
            return [verdicts.failed(task, verdicts.BAD_OPTION, error.detail)]
        (log.info if resumes else log.debug)("download added", task=task.id, attempt=task.attempt, resume=resumes)
        return []

    async def _begun_as(self, task: Task) -> str | None:
        """What the file that is to go on is called: another link may lead to another name, and aria2 would begin a file of that
        name beside it."""
        if task.spec.out or task.spec.document or any(map(is_document, task.spec.urls)):
            return None
        partial = await self._folders.partial(task.id)
        names = [file.path for file in partial.files if not file.path.endswith(".aria2")] if partial else []
        return names[0] if len(names) == 1 and "/" not in names[0] else None

    def _is_mine(self, task: Task) -> bool:
        row = self._replica.table.tasks.get(task.id)
        return row is not None and row.attempt == task.attempt and row.assigned_to == self._replica.node_id

    async def _drop(self, action: Drop) -> list[Command]:
        running = self._engine.runs(action.gid)
        await self._engine.drop(action.gid)
        if running:
            log.info("download stopped", task=action.gid, why=self._why_not_here(action.gid))
        return []

    def _why_not_here(self, task_id: str) -> str:
        row = self._replica.table.tasks.get(task_id)
        if row is None:
            return "it was removed"
        if row.assigned_to is None:
            return f"it is {row.state}"
        return "it waits here" if row.assigned_to == self._replica.node_id else "another node has it now"

    async def _fetch(self, action: Fetch) -> list[Command]:
        if self._is_mine(action.task):
            self._transfers.begin(action.task)
            self._staging.known[action.task.id] = Staged(None)
        return []

    async def _stop_fetch(self, action: StopFetch) -> list[Command]:
        await self._transfers.drop(action.task_id)
        return []

    async def _fetched(self, action: Fetched) -> list[Command]:
        return [Took(action.task.id, action.task.attempt)]

    async def _began(self, action: Began) -> list[Command]:
        task, size = action
        begins = task.state is TaskState.QUEUED
        differs = (
            begins and bool(size and task.size and size != task.size) and not any(map(is_document, task.spec.urls))
        )
        if differs and task.id in self._resumed:
            log.warning("changed at the origin", task=task.id, size=size, begun_with=task.size)
            await self._drop(Drop(task.id))
            return [_measure(task, size), *await self._begin(task, fresh=True)]
        if differs or (begins and not (task.size or task.validator)):
            self._asking.take(About.SIZE, task)
        return [Start(task.id, task.attempt, size)]

    async def _publish(self, action: Publish) -> list[Command]:
        task = action.task
        try:
            receipt = await self._folders.publish(task.id, task.attempt, task.spec.dir)
        except Unavailable as error:
            if self._condition.faulty:
                raise  # the node's fault, known already: it can wait
            await self._engine.drop(task.id)
            return [verdicts.failed(task, verdicts.IO_ERROR, error.detail)]
        self._staging.known[task.id] = Staged(receipt)
        self._engine.acquit(task)
        log.info("published", task=task.id, files=receipt.result.file_count, bytes=receipt.result.total_bytes)
        return [verdicts.completed(task, receipt)]

    async def _finished(self, action: Finished) -> list[Command]:
        return [verdicts.completed(action.task, action.receipt)]

    async def _fail(self, action: Failed) -> list[Command]:
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

    async def _discard(self, action: Discard) -> list[Command]:
        await self._folders.discard(action.task_id, published=action.published)
        if action.published:
            log.warning("published for an attempt that was over: removed", task=action.task_id)
        self._staging.known.pop(action.task_id, None)
        return []

    @property
    def _condition(self) -> Condition:
        return self._around.condition

    def _on_their_way(self) -> dict[str, Transfer]:
        return self._transfers.states()

    _DO: dict[type, Callable[["Worker", Any], Coroutine[Any, Any, list[Command]]]] = {  # noqa: RUF012
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


def _measure(task: Task, size: int, validator: str = "") -> Measure:
    return Measure(task.id, size, validator, links_of(task.spec))


def _chains(actions: Sequence[Action]) -> list[list[Action]]:
    """The actions of each task, in order."""
    chains: dict[str, list[Action]] = {}
    for action in actions:
        chains.setdefault(reconcile.task_of(action), []).append(action)
    return list(chains.values())


def _now() -> float:
    return asyncio.get_running_loop().time()
