"""The worker: makes this node's aria2 do what the table says, and tells the table what came of it.

Level-triggered: every round looks at the rows, the engine and the folders as they are, and carries out the plan. What takes
long (other nodes, servers) is asked in the background; the round in which it is known goes on with it.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog

from ariacluster.domain import reconcile
from ariacluster.domain.commands import Command, Complete, Refusal
from ariacluster.domain.condition import Condition
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.member import Progress
from ariacluster.domain.pace import Pace
from ariacluster.domain.reconcile import Action, Discard, Drop, Failed, Fetch, Publish, Transfer
from ariacluster.domain.suspects import Run
from ariacluster.domain.table import Applied
from ariacluster.domain.task import FailureKind, Task
from ariacluster_node.ports import Downloader, Folders, Machine

from . import verdicts
from .asking import About, Asking, answered
from .documents import Documents
from .engine import Engine
from .hands import Hands, measure
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
        self._asking = asking
        self._transfers = transfers
        self._staging = Staging(folders, _now)
        self._hands = Hands(
            replica,
            self._engine,
            folders,
            self._staging,
            around=self._around,
            asking=asking,
            transfers=transfers,
        )
        self._pace = Pace()
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
        plan = self._plan(rows)
        async with asyncio.TaskGroup() as group:
            works = [group.create_task(self._hands.carry_out(some)) for some in reconcile.in_step(plan)]
        news += [command for work in works for command in work.result()[0]]
        if news:
            await self._tell(news, {action.task.id for action in plan if isinstance(action, Publish)})
            self._wake()
        if put_off := next((error for work in works if (error := work.result()[1])), None):
            raise put_off

    def _on_applied(self, applied: Applied | None) -> None:
        me = self._replica.node_id
        if (
            applied is None
            or applied.members_changed
            or applied.policy_changed
            or any(row and row.node == me for change in applied.changes for row in change)
        ):
            self._wake()

    async def _tell(self, news: list[Command], published: Collection[str]) -> None:
        """`published`: tasks of which the table has not been told yet."""
        for command, outcome in zip(news, await self._replica.propose(news), strict=True):
            if isinstance(outcome, Refusal):
                log.info("superseded", task=command.task, reason=outcome.detail)  # type: ignore[union-attr]
                if isinstance(command, Complete) and command.task in published:
                    self._staging.refuse(command.task)  # the row may be gone, and could not tell later
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
        self._hands.keep({task.id for task in rows})
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
                news.append(measure(task, probe.size, probe.validator))
        return news

    @property
    def _condition(self) -> Condition:
        return self._around.condition

    def _on_their_way(self) -> dict[str, Transfer]:
        return self._transfers.states()


def _now() -> float:
    return asyncio.get_running_loop().time()
