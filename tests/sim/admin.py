"""Who changes the cluster: lets machines in, makes them voters, takes votes away, hands leadership over; sometimes nonsense."""

from typing import TYPE_CHECKING

from ariacluster_node.adapters.raft.host import Outcome

from .process import Process
from .tokens import Token

if TYPE_CHECKING:
    from .world import World


class Admin:
    """Asks any node that seems to lead, and sometimes one that does not."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.is_busy = False

    def begin(self) -> None:
        self.is_busy = True
        if self._world.profile.membership_per_s:
            self._later()

    def _later(self) -> None:
        world = self._world
        world.timeline.after(world.dice.expovariate(world.profile.membership_per_s), self._act)

    def _act(self) -> None:
        if self.is_busy:
            process = self._somebody()
            if process is not None:
                self._change_something(process)
            self._later()

    def _somebody(self) -> Process | None:
        there = [p for m in self._world.machines.values() if (p := m.process) is not None and p.is_open]
        leaders = [process for process in there if process.status.leads]
        dice = self._world.dice
        if leaders and dice.random() < 0.9:
            return dice.choice(leaders)
        return dice.choice(there) if there else None

    def _change_something(self, process: Process) -> None:
        world, dice = self._world, self._world.dice
        voters = process.core._configurations.latest.voters
        others = [name for name, machine in world.machines.items() if name not in voters and not machine.gone]
        fate = dice.random()
        wanted = 3 if fate < 0.7 else dice.choice((1, 2, 4, 5))
        gone = [name for name in voters if world.machines[name].gone]
        if gone and dice.random() < 0.5:
            self._ask(process, set(voters) - {gone[0]})
        elif others and len(voters) <= wanted:
            self._ask(process, {*voters, dice.choice(others)})
        elif len(voters) > 1:
            self._ask(process, set(voters) - {dice.choice(voters)})
        if dice.random() < 0.2:  # two at once: from the same state of things, or one after the other
            other = set(voters) ^ {dice.choice([*voters, *others])}
            if other:
                self._ask(process if dice.random() < 0.7 else self._somebody() or process, other)
        if dice.random() < 0.05 and len(others) > 1:
            self._ask(process, {*voters, *others[:2]})

    def _ask(self, process: Process, voters: set[str]) -> None:
        world = self._world
        world.note("change asked", process.machine.name, sorted(voters))

        def done(outcome: Outcome | None) -> None:
            world.note("change", process.machine.name, sorted(voters), outcome)

        process.change(sorted(voters), Token("change", world.timeline.now, done))

    def grow(self) -> None:
        """The founder lets the others in, until there are as many voters as there shall be."""
        world = self._world
        leaders = [p for m in world.machines.values() if (p := m.process) is not None and p.status.leads]
        if len(world.checks.voters) < world.profile.voters and self.is_busy:
            if leaders:
                voters = leaders[0].core._configurations.latest.voters
                others = [m.name for m in world.machines.values() if m.name not in voters and not m.gone]
                if others and len(voters) < world.profile.voters:
                    self._ask(leaders[0], {*voters, others[0]})
            world.timeline.after(0.15, self.grow)
