"""Random rounds: many downloads of mixed size on five machines, and whatever may go wrong at any time. One seed, one story."""

from collections.abc import Callable

from ariacluster.domain.commands import (
    Cancel,
    Command,
    Drain,
    Pause,
    Relink,
    Remove,
    Resume,
    Retry,
    Tune,
    Undrain,
    Unregister,
)
from ariacluster.domain.member import Member, Tuning
from ariacluster.domain.policy import Policy, Strategy
from ariacluster.domain.task import FINAL, Priority, Task, TaskSpec, TaskState

from .faults import fill
from .judge import Asked, judge
from .machine import Machine
from .world import MIN_FREE, STORMY, TICK_MS, Fleet, Weather

NODES = "abcde"

FAULTS_EVERY_S = 2.0
"""On average, while there are downloads that have not ended."""

SETTLES_S = 3_600.0
"""Simulated seconds after which something is stuck: with the longest wait before a retry there is time for several."""

LIMITED = "small.example:80"
"""An origin that bears few downloads at a time, and that the policy spares."""

LIMIT = 12


class Round:
    """One story. `play` raises `Broken` if a promise is."""

    def __init__(
        self, seed: int, downloads: int, *, faults_every: float = FAULTS_EVERY_S, patience_s: float = SETTLES_S
    ) -> None:
        members = [
            Member(
                id=id,
                name=id,
                address="192.0.2.1",
                port=8000,
                raft="192.0.2.1:8002",
                slots=3,
                tags={"rack": "one" if id in "abc" else "two"},
            )
            for id in NODES
        ]
        disk = MIN_FREE + (downloads * 18_000_000 if seed % 3 == 0 else 50_000_000_000)  # tight, or large
        strategy = list(Strategy)[seed % len(Strategy)]
        policy = Policy(strategy=strategy, min_free=MIN_FREE, origin_limits={LIMITED: LIMIT})
        self.fleet = Fleet(seed, members, weather=STORMY, policy=policy, disk=disk)
        self.asked: Asked = {}
        self._dice = self.fleet.dice
        self._downloads = downloads
        self._words = downloads // 4  # of people: more would free what is stuck
        self._every = faults_every
        self._patience = patience_s
        self._dead = ""
        self.struck = 0

    def play(self) -> Fleet:
        fleet = self.fleet
        ids = [f"{number:016x}" for number in range(1, self._downloads + 1)]
        waiting = list(reversed(ids))
        deadline = fleet.now + int(1000 * (120 + 4 * self._downloads))
        while (waiting or fleet.busy) and fleet.now < deadline:
            for _ in range(min(len(waiting), self._dice.randrange(0, 8))):
                self._submit(waiting.pop())
            if self._dice.random() < TICK_MS / 1000 / self._every:
                self._strike()
            fleet.tick()
        self._calm()
        if not fleet.settle(self._patience):
            stuck = next(fleet.unfinished(), None)
            raise fleet.broken("it does not come to rest", stuck.id if stuck else None)
        judge(fleet, self.asked)
        return fleet

    def _submit(self, task_id: str) -> None:
        dice = self._dice
        able = [m.id for m in self.fleet.machines.values() if m.up and not m.isolated]
        if not able or self.fleet.leader is None:
            self.fleet.later(1_000, lambda: self._submit(task_id))
            return
        host = dice.choice(("one.example", "two.example", "two.example", "small.example", "plain.example"))
        tags = {"rack": dice.choice(("one", "two"))} if dice.random() < 0.2 else {}
        spec = TaskSpec(
            urls=(f"http://{host}/{task_id}",),
            priority=dice.choice(list(Priority)),
            tags=tags,
            prefer_tags={"rack": "two"} if dice.random() < 0.2 else {},
            node=dice.choice(NODES) if not tags and dice.random() < 0.1 else None,
            max_attempts=8,
        )
        size = int(10 ** dice.uniform(4.5, 8.7))
        self.fleet.submit(task_id, spec, size, via=dice.choice(able))
        self.fleet.origins[f"{host}:80"].ranges = host != "plain.example"
        small = self.fleet.origins.get(LIMITED)
        if small is not None:
            small.at_most, small.retry_after = 3, 4_000
        self.asked[task_id] = None

    # -- what happens -----------------------------------------------------------------------------------------------

    def _strike(self) -> None:
        kinds: tuple[Callable[[], None], ...] = (
            self._node_dies,
            self._node_dies,
            self._leader_dies,
            self._dies_between_steps,
            self._dies_between_steps,
            self._is_cut_off,
            self._engine_dies,
            self._disk_full,
            self._drain,
            self._drain,
            self._tune,
            self._origin_down,
            self._somebody,
            self._somebody,
            self._somebody,
            self._dies_for_good,
        )
        self.struck += 1
        self._dice.choice(kinds)()

    def _pick(self) -> Machine:
        return self.fleet.machines[self._dice.choice(NODES)]

    def _away(self, machine: Machine) -> None:
        if machine.up and not self._enough_are_away():
            machine.dies()
            self.fleet.later(self._dice.randrange(500, 45_000), machine.comes_back)

    def _enough_are_away(self) -> bool:
        """Two at a time leave a majority; now and then it is more."""
        away = sum(not m.up or m.isolated for m in self.fleet.machines.values())
        return away >= 2 and self._dice.random() < 0.8

    def _node_dies(self) -> None:
        self._away(self._pick())

    def _leader_dies(self) -> None:
        if self.fleet.leader:
            self._away(self.fleet.machines[self.fleet.leader])

    def _dies_between_steps(self) -> None:
        machine = self._pick()
        if machine.up:
            machine.steps_left = self._dice.randrange(0, 4)

    def _is_cut_off(self) -> None:
        machine = self._pick()
        if machine.isolated or self._enough_are_away():
            return
        self.fleet.note(f"{machine.id} is cut off")
        machine.isolated = True
        self.fleet.later(self._dice.randrange(500, 60_000), lambda: setattr(machine, "isolated", False))

    def _engine_dies(self) -> None:
        machine = self._pick()
        if machine.up:
            machine.aria2c_dies()

    def _disk_full(self) -> None:
        machine = self._pick()
        if not any(m.junk for m in self.fleet.machines.values()):
            fill(machine)
            self.fleet.later(self._dice.randrange(5_000, 40_000), lambda: setattr(machine, "junk", 0))

    def _drain(self) -> None:
        node = self._pick().id
        if self.fleet.say(Drain(node, self.fleet.now + self._dice.choice((0, 5_000, 30_000)))):
            self.fleet.later(self._dice.randrange(5_000, 60_000), lambda: self._until_said(Undrain(node)))

    def _tune(self) -> None:
        self.fleet.say(Tune(self._pick().id, Tuning(slots=self._dice.randrange(0, 5))))

    def _origin_down(self) -> None:
        if self.fleet.origins:
            origin = self.fleet.origins[self._dice.choice(list(self.fleet.origins))]
            origin.down = True
            self.fleet.later(self._dice.randrange(500, 8_000), lambda: setattr(origin, "down", False))

    def _dies_for_good(self) -> None:
        machine = self._pick()
        if not self._dead and self._dice.random() < 0.3:
            self._dead = machine.id
            if machine.up:
                machine.dies()
            machine.gone = True
            if self._dice.random() < 0.5:
                self.fleet.later(self._dice.randrange(1_000, 60_000), lambda: self._until_said(Unregister(machine.id)))

    def _somebody(self) -> None:
        """Of somebody who changes his mind later, the last word counts."""
        rows = list(self.fleet.unfinished())
        if not rows or self._words == 0:
            return
        self._words -= 1
        row = self._dice.choice(rows)
        match self._dice.choice(("pause", "pause", "stay paused", "cancel", "remove", "relink", "anew")):
            case "pause" if self.fleet.say(Pause(row.id)):
                self.fleet.later(self._dice.randrange(250, 20_000), lambda: self._until_said(Resume(row.id)))
            case "stay paused" if self.fleet.say(Pause(row.id)):
                self.asked[row.id] = Pause
            case "cancel" if self.fleet.say(Cancel(row.id)):
                self.asked[row.id] = Cancel
            case "remove" if self.fleet.say(Remove(row.id)):
                self.asked[row.id] = Remove
            case "relink":
                self.fleet.say(Relink(row.id, (f"{row.spec.urls[0]}-again",)))
            case "anew" if self.fleet.say(Cancel(row.id)):
                self.fleet.later(self._dice.randrange(250, 5_000), lambda: self._anew(row))

    def _anew(self, row: Task) -> None:
        """Not if it is pinned to the one that died meanwhile: it would wait for ever, as it should."""
        if row.spec.node == self._dead:
            self.asked[row.id] = Cancel
        else:
            self._until_said(Retry(row.id))

    def _until_said(self, command: Command) -> None:
        if not self.fleet.say(command):
            self.fleet.later(1_000, lambda: self._until_said(command))

    def _calm(self) -> None:
        """No more faults; who is away comes back, and people take back what would keep it from ending."""
        fleet = self.fleet
        fleet.note("-- calm")
        fleet.weather = Weather()
        for machine in fleet.machines.values():
            machine.isolated, machine.junk, machine.steps_left = False, 0, None
            machine.comes_back()
            self._until_said(Undrain(machine.id))
            self._until_said(Tune(machine.id, Tuning(slots=3)))
        for origin in fleet.origins.values():
            origin.down = False
        for task_id, row in list(fleet.truth.tasks.items()):
            if row.spec.node == self._dead and row.state not in FINAL:
                self.asked[task_id] = Cancel
                self._until_said(Cancel(task_id))
                continue
            if row.state is TaskState.PAUSED and self.asked.get(task_id) is Pause and self._dice.random() < 0.5:
                self.asked[task_id] = None
                self._until_said(Resume(task_id))
