"""One machine of the fleet: a node in miniature whose downloads have bytes, whose disk is finite and whose program may die
between any two steps."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from ariacluster.domain.commands import Command, Complete, Fail, Measure
from ariacluster.domain.member import Member, Progress, Report
from ariacluster.domain.reconcile import (
    Action,
    Add,
    Discard,
    Download,
    Drop,
    Failed,
    Fetch,
    Publish,
    Receipt,
    Staged,
    StopFetch,
    Transfer,
)
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import Task, TaskSpec
from tests.support.node_model import NodeModel, result_of

from .telling import told

if TYPE_CHECKING:
    from .world import Fleet

LAN_RATE = 50_000_000
"""Bytes per second between two machines."""

SAVE_MS = 1000
"""How often the engine writes down how far it is: what came since is lost with it."""

PATIENCE_MS = 15_000
"""For so long a node waits for another one that has the bytes and does not answer."""

REPORT_MS = 1000


@dataclass
class Data:
    """What a staging folder holds of a file: bytes from its beginning. `control`: it can be resumed."""

    got: int = 0
    saved: int = 0
    control: bool = False


@dataclass
class Running:
    """A download in the engine."""

    spec: TaskSpec
    total: int = 0
    status: str = "waiting"
    asked: bool = False
    saved_at: int = 0
    code: int = 0
    said: str = ""
    retry_after: int = 0


@dataclass
class Coming:
    """Bytes on their way from another machine. `total` is known once that one has answered."""

    heard: int
    total: int | None = None
    got: int = 0


class Machine(NodeModel):
    """`up`: its program runs. `isolated`: no other machine hears it; origins do. `gates`: actions (by name) that it does not
    get to: the state before them lasts as long. `steps_left`: it dies after so many."""

    def __init__(self, fleet: "Fleet", member: Member, *, uplink: int, disk: int, skew: int) -> None:
        super().__init__(member.id, TaskTable())
        self.fleet = fleet
        self.member = member
        self.uplink, self.disk, self.junk, self.skew = uplink, disk, 0, skew
        self.up, self.isolated, self.gone = True, False, False
        self.applied = 0
        self.must_apply = 0
        self.data: dict[str, Data] = {}
        self.engine: dict[str, Running] = {}
        self.coming: dict[str, Coming] = {}
        self.files: dict[str, tuple[int, int]] = {}
        """Published files by task: attempt and length."""
        self.halfway: dict[str, Task] = {}
        """Publications that have a receipt, and not all their files in place."""
        self.asking: dict[str, int] = {}
        self.heard: dict[str, tuple[Report, int]] = {}
        self.leading_since: int | None = None
        self.gates: set[str] = set()
        self.deaf_until = 0
        self.steps_left: int | None = None
        self._reported = -REPORT_MS
        self._stuck: Publish | None = None
        self.idle = True

    # -- the disk -------------------------------------------------------------------------------------------------

    @property
    def disk_free(self) -> int:
        return (
            self.disk
            - self.junk
            - sum(data.got for data in self.data.values())
            - sum(length for _, length in self.files.values())
            - sum(coming.got for task_id, coming in self.coming.items() if not self.transfers[task_id].ended)
        )

    # -- faults ---------------------------------------------------------------------------------------------------

    def dies(self) -> None:
        """The program and its engine are killed; what is on the disk stays, as far as it was written down."""
        self.fleet.note(f"{self.id} dies")
        self.up = False
        self._engine_ends()
        self.restarts()
        self.coming.clear()
        self.asking.clear()
        self.heard.clear()
        self.fleet.unseat(self.id)
        self._stuck = None
        self.steps_left = None

    def comes_back(self) -> None:
        """Unless it is there, or gone for good."""
        if self.up or self.gone:
            return
        self.fleet.note(f"{self.id} is back")
        self.up = True
        self.must_apply = len(self.fleet.log)
        for task in list(self.halfway.values()):  # as `Folders.staged` does
            self._move_files(task)

    def aria2c_dies(self) -> None:
        self.fleet.note(f"{self.id}: its aria2c dies")
        self._engine_ends()
        self.engine_dies()

    def _engine_ends(self) -> None:
        for task_id, running in self.engine.items():
            data = self.data[task_id]
            if running.status != "complete":
                self.fleet.unsaved[task_id] = self.fleet.unsaved.get(task_id, 0) + data.got - data.saved
                data.got = data.saved
        self.engine.clear()

    # -- the table ------------------------------------------------------------------------------------------------

    def catch_up(self, index: int) -> None:
        while self.applied < index:
            self.table.apply(self.fleet.log[self.applied])
            self.applied += 1

    @property
    def ready(self) -> bool:
        return self.applied >= self.must_apply

    # -- a round of the worker ------------------------------------------------------------------------------------

    def work(self) -> None:
        self._ask_origins()
        if self._stuck is not None:
            if "halfway" in self.gates:
                return
            publish, self._stuck = self._stuck, None
            self._move_files(publish.task)
            self._tell([self._published(publish.task)])
            return
        if not self.ready:
            return
        free, min_free = self.disk_free, self.table.policy.min_free
        self.full = free < (min_free if self.full else min_free // 2)
        for gid, running in self.engine.items():
            self.engine_says(
                gid,
                Download(
                    gid=gid,
                    status=running.status,
                    total=running.total,
                    completed=self.data[gid].got,
                    error_code=running.code,
                    error_message=running.said,
                ),
            )
        actions = self.plan()
        self.idle = not actions
        news: list[Command] = []
        for action in actions:
            if type(action).__name__.lower() in self.gates:
                break
            if self.steps_left is not None:
                if self.steps_left == 0:
                    self.dies()
                    self.fleet.later(self.fleet.dice.randrange(500, 10_000), self.comes_back)
                    return
                self.steps_left -= 1
            if isinstance(action, Publish) and (
                "halfway" in self.gates
                or self.steps_left == 0
                or self.fleet.dice.random() < self.fleet.weather.dies_publishing
            ):
                self._half_publish(action)
                return
            command = self._do(action)
            if command is not None:
                news.append(command)
        if news:
            self._tell(news)

    def _tell(self, news: list[Command]) -> None:
        if "tell" not in self.gates:
            self.fleet.propose(self.id, *news)

    def _do(self, action: Action) -> Command | None:
        self.fleet.note(lambda: f"{self.id}: {told(action)}")
        if isinstance(action, Discard):
            self.fleet.check_discard(self, action)
        command = self.perform(action, dice=self.fleet.dice.random())
        match action:
            case Add(task, fresh):
                data = self.data.get(task.id)
                if data is None or fresh or not data.control:
                    self.data[task.id] = data = Data()
                self.fleet.note_resumed(self, task, data.got)
                self.engine[task.id] = Running(task.spec, saved_at=self.fleet.now)
                self.downloads[task.id] = Download(gid=task.id, status="waiting")
            case Drop(gid):
                del self.engine[gid]
                self.data[gid].saved = self.data[gid].got if gid in self.data else 0
            case Discard(task_id, published):
                self.data.pop(task_id, None)
                self.halfway.pop(task_id, None)
                if published:
                    self.files.pop(task_id, None)
            case Fetch(task):
                self.data[task.id] = Data()
                self.coming[task.id] = Coming(self.fleet.now)
            case StopFetch(task_id):
                self.coming.pop(task_id, None)
            case Publish(task):
                self._move_files(task)
            case Failed(task, _) if isinstance(command, Fail) and task.id in self.engine:
                return msgspec.structs.replace(command, retry_after=self.engine[task.id].retry_after)
        return command

    # -- publishing -----------------------------------------------------------------------------------------------

    def _half_publish(self, action: Publish) -> None:
        """The receipt is written; then it hangs (at a gate), or dies."""
        task = action.task
        self.fleet.note(f"{self.id}: publishes {task.id} halfway")
        receipt = Receipt(attempt=task.attempt, result=result_of(task, self.data[task.id].got))
        self.staged[task.id] = Staged(receipt)
        self.published[task.id] = receipt
        self.halfway[task.id] = task
        if "halfway" in self.gates:
            self._stuck = action
        else:
            self.dies()
            self.fleet.later(2_000, self.comes_back)

    def _move_files(self, task: Task) -> None:
        assert task.id not in self.files, "a second file of the same task"
        self.files[task.id] = (task.attempt, self.data.pop(task.id).got)
        self.data[task.id] = Data()
        self.halfway.pop(task.id, None)

    def _published(self, task: Task) -> Command:
        receipt = self.staged[task.id].receipt
        assert receipt is not None
        return Complete(task.id, receipt.attempt, receipt.result)

    # -- time passes ----------------------------------------------------------------------------------------------

    def run(self, ms: int) -> None:
        """The engine and what comes from other machines go on for so long."""
        self._download(ms)
        for task_id, coming in self.coming.items():
            if not self.transfers[task_id].ended:
                self._receive(task_id, coming, ms)

    def _download(self, ms: int) -> None:
        slots = self.table.policy.slots_of(self.table.members[self.id]) if self.id in self.table.members else 1
        going = [gid for gid, running in self.engine.items() if running.status in ("active", "waiting")][:slots]
        share = self.uplink * ms // 1000 // max(1, len(going))
        for gid in going:
            running, data = self.engine[gid], self.data[gid]
            origin = self.fleet.origin_of(running.spec)
            if not running.asked:
                running.asked = True
                answer = origin.answer(
                    running.spec.urls[0], resumes=data.got > 0, others=self.fleet.active_at(origin.name)
                )
                running.status, running.total = "active", self.fleet.sizes[gid]
                if answer.code:
                    running.status = "error"
                    running.code, running.said, running.retry_after = answer
                    continue
                data.control = True
            if origin.down:
                running.status, running.code, running.said = "error", 6, "network problem"
                continue
            more = min(share, running.total - data.got)
            if more > self.disk_free:
                running.status, running.code = "error", 9
                continue
            data.got += more
            self.fleet.fetched[gid] = self.fleet.fetched.get(gid, 0) + more
            if self.fleet.now - running.saved_at >= SAVE_MS:
                running.saved_at, data.saved = self.fleet.now, data.got
            if data.got == running.total:
                running.status, data.control = "complete", False

    def _receive(self, task_id: str, coming: Coming, ms: int) -> None:
        row = self.table.tasks.get(task_id)
        source = self.fleet.machines.get(row.bytes_on) if row and row.bytes_on else None
        if source is None or not self.fleet.linked(self, source):
            if self.fleet.now - coming.heard > PATIENCE_MS:
                self._end_of(task_id, Data())
            return
        coming.heard = self.fleet.now
        there = source.data.get(task_id)
        if coming.total is None:
            known = source.table.tasks.get(task_id)
            if known is None or known.attempt < self.transfers[task_id].attempt or task_id in source.engine:
                return
            if "arrive" in self.gates:
                return
            if there is None or not there.control or not there.got:
                self._end_of(task_id, Data())
                return
            coming.total = there.got
        if there is None or there.got != coming.total or self.fleet.dice.random() < self.fleet.weather.breaks_transfer:
            coming.total, coming.got = None, 0
            return
        room = coming.total if "last byte" not in self.gates else coming.total - 1
        coming.got = max(coming.got, min(room, coming.got + LAN_RATE * ms // 1000))
        if coming.got == coming.total:
            self._end_of(task_id, replace(there, saved=there.got))

    def _end_of(self, task_id: str, data: Data) -> None:
        self.fleet.note(f"{self.id}: {data.got} bytes of {task_id} came over the LAN")
        self.data[task_id] = data
        transfer = self.transfers[task_id]
        self.transfers[task_id] = Transfer(attempt=transfer.attempt, ended=True, total=data.got, completed=data.got)

    def _ask_origins(self) -> None:
        for task_id in [task_id for task_id, due in self.asking.items() if due <= self.fleet.now]:
            del self.asking[task_id]
            self.fleet.propose(self.id, Measure(task_id, self.fleet.sizes[task_id], '"v1"'))

    # -- reports --------------------------------------------------------------------------------------------------

    def report(self) -> Report | None:
        """Once a second."""
        if self.fleet.now - self._reported < REPORT_MS:
            return None
        self._reported = self.fleet.now
        return Report(
            node=self.id,
            disk_free=self.disk_free,
            disk_total=self.disk,
            engine="1.37.0",
            pressed=self.full or self.disk_free < self.table.policy.min_free,
            peak_speed=self.uplink,
            tasks={
                gid: Progress(
                    attempt=self.attempts.get(gid, 0),
                    completed=self.data[gid].got,
                    total=running.total,
                    speed=self.uplink if running.status == "active" else 0,
                    active=running.status == "active",
                )
                for gid, running in self.engine.items()
            },
        )
