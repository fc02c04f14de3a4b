"""What goes wrong. A fault happens at once, and undoes itself after a while, or `World.heal` does."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ariacluster_node.adapters.raft.configurations import majority

from .machine import Machine
from .process import Process

if TYPE_CHECKING:
    from .world import World

Path = tuple[str, str]

CUT_OFF_S = 1.2
"""A leader that reaches nobody stops leading within so much time of the world."""


class Faults:
    """Each method named in `KINDS` is a fault."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._kinds: list[Callable[[], None]] = []
        self._per_s = 0.0
        self._phase = 0
        self._victim: Machine | None = None
        """If there is one, nothing happens to others."""

    def choose_victim(self) -> None:
        """From now on only one follower is annoyed: the leader and its majority are left alone."""
        machines = self._world.machines.values()
        followers = [m for m in machines if m.process is not None and not m.process.status.leads]
        self._victim = self._world.dice.choice(followers)
        self._world.checks.is_steady = True

    def begin_phase(self) -> None:
        """Other weather: a few kinds only, so that each seed is of its own sort."""
        dice = self._world.dice
        self._phase += 1
        names = dice.sample(sorted(NUISANCES if self._victim else KINDS), dice.randrange(2, 8))
        weights = [KINDS[name] for name in names]
        names = [*dice.choices(names, weights, k=20), *4 * self._world.profile.always]
        self._kinds = [getattr(self, f"_{name}") for name in names]
        low, high = self._world.profile.faults_per_s
        self._per_s = low + (high - low) * dice.random() ** 2
        self._world.note("weather", *sorted(set(names)), f"{self._per_s:.1f}/s")
        self._later(self._phase)

    def end(self) -> None:
        self._phase += 1

    def _later(self, phase: int) -> None:
        self._world.timeline.after(self._world.dice.expovariate(self._per_s), self._strike, phase)

    def _strike(self, phase: int) -> None:
        if phase == self._phase:
            self._world.dice.choice(self._kinds)()
            self._later(phase)

    def _undo(self, after_s: float, call: Callable[..., None], *arguments: object) -> None:
        """Unless everything has been healed before."""
        era = self._world.era

        def undo() -> None:
            if self._world.era == era:
                call(*arguments)

        self._world.timeline.after(after_s, undo)

    def _machine(self) -> Machine | None:
        """Most often one that matters."""
        world = self._world
        if self._victim is not None:
            return self._victim if self._victim.process is not None else None
        running = [machine for machine in world.machines.values() if machine.process is not None]
        leaders = [machine for machine in running if machine.process is not None and machine.process.status.leads]
        if leaders and world.dice.random() < 0.4:
            return world.dice.choice(leaders)
        return world.dice.choice(running) if running else None

    def _duration(self) -> float:
        return float(0.05 + 3.0 * self._world.dice.random() ** 2)

    # Processes and machines.

    def _kill(self) -> None:
        if machine := self._machine():
            machine.kill_now()
            self._world.restart_later(machine)

    def _kill_within_a_write(self) -> None:
        if machine := self._machine():
            machine.loses_power = self._world.dice.random() < 0.4
            machine.disk.kill_at(self._world.dice.randrange(1, 40))

    def _kill_within_a_sync(self) -> None:
        """What was said before it is on its way; what was to be on disk is there or not."""
        if machine := self._machine():
            self._die_at_sync(machine, self._world.dice.randrange(1, 6))

    def _kill_many_within_a_sync(self) -> None:
        for machine in self._some_of_all():
            self._die_at_sync(machine, 1)

    def _die_at_sync(self, machine: Machine, n: int) -> None:
        if machine.process is not None:
            machine.loses_power = self._world.dice.random() < 0.8
            machine.disk.kill_at_sync(n)

    def _kill_many(self) -> None:
        for machine in self._some_of_all():
            machine.kill_now()
            self._world.restart_later(machine)

    def _power_cut(self) -> None:
        if machine := self._machine():
            machine.cut_power()
            self._world.restart_later(machine)

    def _power_cut_many(self) -> None:
        for machine in self._some_of_all():
            machine.cut_power()
            self._world.restart_later(machine)

    def _some_of_all(self) -> list[Machine]:
        machines = list(self._world.machines.values())
        if self._world.dice.random() < 0.5:
            return machines
        return self._world.dice.sample(machines, self._world.dice.randint(1, len(machines)))

    def _restart_in_order(self) -> None:
        if machine := self._machine():
            machine.stop()
            self._world.restart_later(machine)

    def _pause(self) -> None:
        if machine := self._machine():
            self._world.count("pauses")
            self._world.note("pause", machine.name)
            machine.pause()
            self._undo(self._duration(), machine.resume)

    def _lose_disk(self) -> None:
        """Rarely possible: what is lost must not be needed, whoever votes."""
        if machine := self._machine():
            self._world.replace(machine)

    # Disks.

    def _slow_disk(self) -> None:
        if machine := self._machine():
            self._slow_down(machine)

    def _slow_disks(self) -> None:
        """Downloads keep all of them busy. Nobody may be deposed for that."""
        for machine in self._world.machines.values():
            self._slow_down(machine)

    def _slow_down(self, machine: Machine) -> None:
        before, machine.disk.sync_s = machine.disk.sync_s, self._world.dice.choice((0.005, 0.02, 0.1, 0.4))
        self._undo(self._duration(), setattr, machine.disk, "sync_s", before)

    def _disk_error(self) -> None:
        machine = self._machine()
        if machine is not None and machine.process is not None and machine.process.is_open:
            self._world.count("disk errors")
            machine.break_disk()
            self._undo(0.3, machine.mend_disk)

    # The network.

    def _cut(self, paths: list[Path], after_s: float) -> None:
        network = self._world.network
        self._world.count("partitions")
        self._world.note("cut", *(f"{a}>{b}" for a, b in paths))
        network.cut(*paths)
        self._undo(after_s, network.heal, *paths)

    def _between(self, some: list[str], *, one_way: bool = False) -> list[Path]:
        rest = [name for name in self._world.machines if name not in some]
        paths = [(a, b) for a in some for b in rest]
        return paths if one_way else paths + [(b, a) for a, b in paths]

    def _two(self) -> tuple[str, str] | None:
        names = list(self._world.machines)
        if len(names) < 2:
            return None
        first, second = self._world.dice.sample(names, 2)
        if self._victim is not None and self._victim.name not in (first, second):
            first = self._victim.name
        return first, second

    def _partition(self) -> None:
        names = list(self._world.machines)
        if len(names) > 1:
            some = self._world.dice.sample(names, self._world.dice.randrange(1, len(names)))
            if self._victim is not None:
                some = [self._victim.name]
            self._cut(self._between(some, one_way=self._world.dice.random() < 0.3), self._duration())

    def _cut_off_leader(self) -> None:
        machine = self._machine()
        if machine is None or machine.process is None or len(self._world.checks.voters) < 2:
            return
        if machine.process.status.leads and len(machine.process.status.voters) > 1:
            self._world.timeline.after(
                CUT_OFF_S, self._check_cut_off, machine, machine.process, machine.process.status.term
            )
        one_way = self._world.dice.random() < 0.3
        self._cut(self._between([machine.name], one_way=one_way), CUT_OFF_S + 0.01 + self._duration())

    def _check_cut_off(self, machine: Machine, process: Process, term: int) -> None:
        """If it was not paused nor busy meanwhile, it has found out by now."""
        names = [name for name in self._world.machines if name != machine.name]
        is_cut = not self._world.jumbling and all(self._world.network.is_cut(machine.name, name) for name in names)
        if (
            machine.process is process is not None
            and is_cut
            and process.status.voters != (machine.name,)
            and self._world.calm_since(machine, CUT_OFF_S)
        ):
            self._world.checks.leads_no_more(machine, term)

    def _see_saw(self) -> None:
        """The leader keeps one follower, the others elect somebody else; then back, if the dice will."""
        names = list(self._world.machines)
        leaders = [m.name for m in self._world.machines.values() if m.process is not None and m.process.status.leads]
        if len(names) > 3 and leaders:
            follower = self._world.dice.choice([name for name in names if name != leaders[0]])
            self._cut(self._between([leaders[0], follower]), 0.4 + 0.2 * self._world.dice.random())
            self._world.timeline.after(0.05, self._world.clients.pile_up, leaders[0])
            self._world.machines[leaders[0]].hoards = True
            self._undo(0.4, setattr, self._world.machines[leaders[0]], "hoards", False)
            for turn in range(3):
                self._undo(0.7 + 0.05 * turn, self._hand_over)

    def _cut_link(self) -> None:
        if two := self._two():
            first, second = two
            paths = [(first, second)] if self._world.dice.random() < 0.4 else [(first, second), (second, first)]
            self._cut(paths, self._duration())

    def _flap(self) -> None:
        """A link that comes and goes."""
        if two := self._two():
            first, second = two
            for turn in range(self._world.dice.randrange(2, 12)):
                self._undo(0.15 * turn, self._cut, [(first, second), (second, first)], 0.1 * self._world.dice.random())

    def _stall(self) -> None:
        if two := self._two():
            first, second = two
            self._cut([(first, second)], 0.05 + self._world.dice.random())

    def _slow_link(self) -> None:
        if two := self._two():
            first, second = two
            self._world.network.slow((first, second), 0.3 * self._world.dice.random())
            self._undo(self._duration(), self._world.network.slow, (first, second), 0.0)

    def _reset(self) -> None:
        self._world.network.reset_one()

    def _move(self) -> None:
        if (machine := self._machine()) and self._world.dice.random() < self._world.profile.moves:
            machine.move()

    def _stranger(self) -> None:
        machine = self._machine()
        if machine is not None and machine.process is not None and machine.process.is_open:
            self._world.network.babble(machine.process)

    # What people do.

    def _hand_over(self) -> None:
        for machine in self._world.machines.values():
            if machine.process is not None and machine.process.status.leads:
                self._world.note("hand over", machine.name)
                machine.process.transfer()


KINDS: dict[str, float] = {
    "kill": 2,
    "kill_within_a_write": 3,
    "kill_within_a_sync": 3,
    "kill_many_within_a_sync": 1,
    "kill_many": 1,
    "power_cut": 2,
    "power_cut_many": 1,
    "restart_in_order": 1,
    "pause": 2,
    "lose_disk": 1,
    "slow_disk": 1,
    "slow_disks": 0.5,
    "disk_error": 0.5,
    "partition": 2,
    "cut_off_leader": 2,
    "see_saw": 0.5,
    "cut_link": 2,
    "flap": 1,
    "stall": 2,
    "slow_link": 1,
    "reset": 2,
    "move": 0.5,
    "stranger": 0.5,
    "hand_over": 1.5,
}
"""How often each, beside the others of its phase."""


NUISANCES = frozenset(KINDS) - {
    "kill_many",
    "kill_many_within_a_sync",
    "power_cut_many",
    "lose_disk",
    "hand_over",
    "reset",
    "cut_off_leader",
    "see_saw",
}
"""Those that can be made to hit one node only."""


def survives_without(machine: str, gone: set[str], configurations: list[tuple[str, ...]]) -> bool:
    """Whether each of these can still decide if that machine is lost as well."""
    lost = {machine, *gone}
    return all(len(set(voters) - lost) >= majority(voters) for voters in configurations if voters)
