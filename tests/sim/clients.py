"""Who uses the cluster: submits commands through any node and tries again elsewhere with the same id, and reads freshly."""

from typing import TYPE_CHECKING

from ariacluster_node.adapters.raft.host import Outcome

from .ledger import payload_of
from .process import Process
from .tokens import Token

if TYPE_CHECKING:
    from .world import World


class Command:
    """One thing that a client wants done, until it is acknowledged."""

    def __init__(self, name: str, filler: bytes) -> None:
        self.name = name
        self.filler = filler
        self.attempts = 0
        self.is_acknowledged = False


class Clients:
    """All of them."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._number = 0
        self.open: dict[Command, None] = {}
        self.are_busy = False

    def begin(self) -> None:
        self.are_busy = True
        self._world.timeline.after(0.0, self._submit_some)
        self._world.timeline.after(0.0, self._read_some)

    def finish(self) -> None:
        """Nothing new; what is open is tried until it is done."""
        self.are_busy = False

    # Commands.

    def _submit_some(self) -> None:
        world, profile = self._world, self._world.profile
        if not self.are_busy:
            return
        if len(self.open) < profile.outstanding:
            burst = 1 if world.dice.random() < 0.8 else world.dice.randrange(2, 30)
            for _ in range(burst):
                self.submit()
        world.timeline.after(world.dice.expovariate(profile.commands_per_s / 4), self._submit_some)

    def pile_up(self, name: str) -> None:
        """Many commands at once, all through that node."""
        process = self._world.machines[name].process
        if self.are_busy and process is not None and process.is_open:
            for _ in range(50):
                self.submit(process)

    def submit(self, through: Process | None = None) -> Command:
        world = self._world
        self._number += 1
        size = world.dice.randrange(1, 1000) if world.dice.random() < world.profile.large else 0
        command = Command(f"c{self._number}", b"x" * size)
        self.open[command] = None
        self._try(command, None, through)
        return command

    def _try(self, command: Command, avoided: str | None, through: Process | None = None) -> None:
        """Once, through a node that seems to be there; then again through another."""
        world = self._world
        if command.is_acknowledged:
            return
        process = through or self._some_node(avoided)
        if process is None:
            world.timeline.after(0.2, self._try, command, None)
            return
        command.attempts += 1
        payload = payload_of(command.name, command.attempts, command.filler)
        attempt = _Attempt(self, command, payload, process)
        token = Token(f"submit {command.name}/{command.attempts}", world.timeline.now, attempt.done)
        world.note("submit", process.machine.name, payload[:20])
        process.submit(payload, token)
        world.timeline.after(0.2 + 1.5 * world.dice.random(), attempt.timed_out)

    def again(self, command: Command, avoided: str) -> None:
        if not command.is_acknowledged:
            self._world.timeline.after(0.01 + 0.3 * self._world.dice.random(), self._try, command, avoided)

    def _some_node(self, avoided: str | None) -> Process | None:
        world = self._world
        there = [p for m in world.machines.values() if (p := m.process) is not None and p.is_open]
        there = [process for process in there if process.machine.name != avoided] or there
        if not there:
            return None
        leaders = [process for process in there if process.status.leads]
        return world.dice.choice(leaders if leaders and world.dice.random() < 0.4 else there)

    # Reads.

    def _read_some(self) -> None:
        world = self._world
        if not self.are_busy:
            return
        process = self._some_node(None)
        if process is not None:
            self.read(process)
        world.timeline.after(world.dice.expovariate(world.profile.reads_per_s), self._read_some)

    def read(self, process: Process) -> None:
        checks, world, fresh_from = self._world.checks, self._world, self._world.checks.fresh_from

        def done(outcome: Outcome | None) -> None:
            if outcome is Outcome.DONE:
                checks.was_read(process, fresh_from)
                world.count("fresh reads")

        process.read(Token("read", world.timeline.now, done))


class _Attempt:
    """One submission of a command."""

    def __init__(self, clients: Clients, command: Command, payload: bytes, process: Process) -> None:
        self._clients = clients
        self._command = command
        self._payload = payload
        self._process = process
        self._is_over = False

    def done(self, outcome: Outcome | None) -> None:
        """Settled; or None: nobody answers any more."""
        world = self._clients._world
        if outcome is Outcome.DONE:
            world.checks.acknowledged(self._process, self._payload)
            world.note("done", self._process.machine.name, self._payload[:20])
            if not self._command.is_acknowledged:
                self._command.is_acknowledged = True
                world.count("acknowledged")
                self._clients.open.pop(self._command)
        elif outcome in (Outcome.NOT_TAKEN, Outcome.FULL, Outcome.REFUSED):
            world.checks.not_taken(self._process, self._payload)
        if not self._is_over and outcome is not Outcome.DONE:
            self._is_over = True
            self._clients.again(self._command, self._process.machine.name)

    def timed_out(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._clients.again(self._command, self._process.machine.name)
