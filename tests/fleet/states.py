"""The states of a task's life in which something may go wrong, and how to bring a task into each, and hold it there."""

from collections.abc import Callable
from typing import NamedTuple

from ariacluster.domain.commands import Drain, Pause
from ariacluster.domain.member import Member
from ariacluster.domain.task import TaskSpec, TaskState

from .machine import Machine
from .world import Fleet

TASK = "00000000000000aa"
ORIGIN = "origin.example:80"
SIZE = 100_000_000
HOME = "b"
"""The node that takes the task in, and is given it first."""

HELD_TICKS = 4

LEADER = "e"
"""By its name the last that would be given anything: it is neither the home of the task nor the target of a move."""


class Stage:
    """Five machines and one task."""

    def __init__(self, seed: int) -> None:
        tags = {HOME: {"home": "yes"}}
        members = [
            Member(
                id=id, name=id, address="192.0.2.1", port=8000, raft="192.0.2.1:8002", slots=2, tags=tags.get(id, {})
            )
            for id in "abcde"
        ]
        self.fleet = Fleet(seed, members)
        self.fleet.leader = LEADER
        self.fleet.machines[LEADER].leading_since = self.fleet.now

    @property
    def home(self) -> Machine:
        return self.fleet.machines[HOME]

    @property
    def node(self) -> Machine:
        """The machine that has the task, or had it last, or is going to have it."""
        row = self.fleet.truth.tasks.get(TASK)
        return self.fleet.machines[(row.node if row else None) or HOME]

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        end = self.fleet.now + seconds * 1000
        while not condition():
            if self.fleet.now >= end:
                raise self.fleet.broken("it does not come that far", TASK)
            self.fleet.tick()

    def hold(self) -> None:
        """Stay in the state for another moment, so that others come first."""
        for _ in range(HELD_TICKS):
            self.fleet.tick()

    def release(self) -> None:
        """Nothing is held up any more."""
        for machine in self.fleet.machines.values():
            machine.gates.clear()
        self.fleet.weather.loses_report = 0.0
        for origin in self.fleet.origins.values():
            origin.down, origin.at_most = False, 0

    # -- the states -----------------------------------------------------------------------------------------------

    def submitted(self) -> None:
        spec = TaskSpec(urls=("http://origin.example/file",), prefer_tags={"home": "yes"})
        self.fleet.submit(TASK, spec, SIZE, via=HOME)
        self.fleet.machines[HOME].asking[TASK] = self.fleet.now + 1_000

    def pending(self) -> None:
        self.fleet.weather.loses_report = 1.0
        self.submitted()
        self.until(lambda: self.fleet.truth.tasks[TASK].size > 0)

    def queued(self) -> None:
        self.home.gates.add("add")
        self._ready()
        self.submitted()
        self.until(lambda: self.fleet.truth.tasks[TASK].state is TaskState.QUEUED)

    def _ready(self) -> None:
        self.until(lambda: len(self.fleet.machines[LEADER].heard) == 5)

    def downloading(self) -> None:
        self._ready()
        self.submitted()
        self.until(lambda: TASK in self.home.data and self.home.data[TASK].got >= SIZE // 2)

    def moving(self) -> None:
        self.downloading()
        self.home.gates.add("drop")
        self._move()

    def _move(self) -> None:
        self.fleet.say(Drain(HOME, 0))
        self.until(lambda: self.node is not self.home)

    def fetching(self) -> None:
        self.moving()
        self.home.gates.clear()
        target = self.node
        target.gates.add("last byte")
        self.until(lambda: TASK in target.coming and target.coming[TASK].got > 0)

    def fetched(self) -> None:
        self.moving()
        self.home.gates.clear()
        target = self.node
        target.gates.add("fetched")
        self.until(lambda: TASK in target.transfers and target.transfers[TASK].ended)

    def whole(self) -> None:
        self.downloading()
        self.home.gates.add("publish")
        self.until(lambda: self.home.data[TASK].got == SIZE)

    def half_published(self) -> None:
        self.downloading()
        self.home.gates.add("halfway")
        self.until(lambda: TASK in self.home.halfway)

    def published(self) -> None:
        self.downloading()
        self.home.gates.add("tell")
        self.until(lambda: TASK in self.home.files)

    def paused(self) -> None:
        self.downloading()
        self.fleet.say(Pause(TASK))
        self.until(lambda: TASK not in self.home.engine)

    def waiting_to_retry(self) -> None:
        self.downloading()
        self.fleet.origins[ORIGIN].down = True
        self.until(lambda: self.fleet.truth.tasks[TASK].state is TaskState.PENDING)

    def held(self) -> None:
        self.downloading()
        origin = self.fleet.origins[ORIGIN]
        origin.at_most, origin.retry_after = -1, 6_000
        self.home.aria2c_dies()
        self.until(lambda: ORIGIN in self.fleet.truth.origins)


class State(NamedTuple):
    name: str
    reach: Callable[[Stage], None]


STATES = (
    State("waiting for its size", Stage.submitted),
    State("pending", Stage.pending),
    State("queued", Stage.queued),
    State("downloading", Stage.downloading),
    State("moving, the source not stopped", Stage.moving),
    State("moving, bytes on their way", Stage.fetching),
    State("moving, bytes there, not told", Stage.fetched),
    State("whole, not published", Stage.whole),
    State("half published", Stage.half_published),
    State("published, not told", Stage.published),
    State("paused with bytes", Stage.paused),
    State("waiting for a retry", Stage.waiting_to_retry),
    State("held by its origin", Stage.held),
)
