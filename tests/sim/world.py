"""A world: machines, a network, a clock, and one set of dice from which all chance comes. One schedule is one life of it.

Phases of faults come first; then everything is healed, and the cluster must be whole and at one again within a bounded time.
"""

import collections
import random
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from . import sizes
from .admin import Admin
from .checks import Checks
from .clients import Clients
from .faults import Faults, survives_without
from .machine import Machine
from .network import Network
from .profiles import Profile
from .timeline import Timeline
from .verdict import Verdict

MAX_VERDICT_S = 25.0
"""After healing, everything must be in order within so much time."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one schedule. `trace` is of everything that happened: equal if and only if two runs went the same way."""

    seed: int
    profile: str
    trace: int
    events: int
    world_s: float
    counts: dict[str, int]
    violation: str | None = None


class World:
    """See `run`."""

    def __init__(
        self, seed: int, profile: Profile, *, tell: Callable[[str], None] | None = None, verbose: int = 0
    ) -> None:
        """`tell` hears everything that is worth telling, if `verbose`; with 2, also each message."""
        self.seed = seed
        self.profile = profile
        self.verbose = verbose
        self._tell = tell
        self.dice = dice = random.Random(seed)
        self.timeline = Timeline()
        self.spent = 0.0
        """How long the process that runs right now has been waiting for its disk in this turn."""
        self.counts: collections.Counter[str] = collections.Counter()
        self.snapshots_written = 0
        self.era = 0
        """How often everything was healed."""
        self.latency_s = 0.0002 + 0.003 * dice.random() ** 2
        self.compact_entries = dice.randint(*profile.compact_entries)
        self.keep_entries = dice.randint(*profile.keep_entries)
        self.jumbling = profile.jumbled
        sizes.roll(dice)
        self._disk_s = dice.choice((0.0002, 0.002, 0.01)) if dice.random() < profile.slow_disks else 0.0
        self._restarts_s = dice.choice(profile.restarts_s)
        self._digest = 0
        self.is_healed = False
        self._spares = profile.spares
        self.checks = Checks(self)
        self.network = Network(self)
        self.machines: dict[str, Machine] = {}
        self._addresses: dict[str, Machine] = {}
        self.clients = Clients(self)
        self.admin = Admin(self)
        self.faults = Faults(self)

    # Time, dice, and telling.

    def time(self) -> float:
        """For the one that runs now: it may have spent some since the event began."""
        return self.timeline.now + self.spent

    def spend(self, seconds: float) -> None:
        self.spent += seconds

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def note(self, what: str, *more: Any) -> None:
        """Told, and made part of what distinguishes this run from others."""
        self._digest = zlib.crc32(f"{what} {more}".encode(), self._digest)
        self.tell(what, *more)

    def tell(self, what: str, *more: Any) -> None:
        """Told only."""
        if self._tell is not None and self.verbose:
            self._tell(f"{self.timeline.now:.6f} {what} {' '.join(map(str, more))}")

    @property
    def trace(self) -> int:
        return zlib.crc32(repr((self.dice.getstate(), self.timeline.events, self.timeline.now)).encode(), self._digest)

    # The machines.

    def _add_machine(self, found: tuple[str, ...]) -> Machine:
        number = len(self.machines) + 1
        name = f"n{number}"
        machine = self.machines[name] = Machine(self, name, number, found)
        machine.disk.sync_s = self._disk_s
        return machine

    def at_address(self, address: str) -> Machine | None:
        machine = self._addresses.get(address)
        return machine if machine is not None and machine.address == address else None

    def announce(self, machine: Machine) -> None:
        """Discovery: the others hear of its address sooner or later, and it of theirs."""
        self._addresses[machine.address] = machine
        for other in self.machines.values():
            if other is not machine:
                self.timeline.after(0.02 + 3 * self.dice.random() ** 3, self._hear, other, machine)
                self.timeline.after(0.02 + 3 * self.dice.random() ** 3, self._hear, machine, other)

    def _hear(self, machine: Machine, other: Machine) -> None:
        if machine.process is not None and machine.process.is_open and other.process is not None:
            machine.process.learn(other.name, other.address)

    def restart_later(self, machine: Machine) -> None:
        delay_s = self.dice.expovariate(1 / self._restarts_s) if not self.is_healed else 0.05
        self.timeline.after(delay_s, machine.start)

    def replace(self, machine: Machine) -> None:
        """Its disk is lost, if that can be borne, and another machine comes instead."""
        gone = {name for name, other in self.machines.items() if other.gone}
        if self._spares and survives_without(machine.name, gone, self.configurations()):
            self._spares -= 1
            self.count("lost disks")
            self.note("disk lost", machine.name)
            machine.replace_disk()
            self.timeline.after(self.dice.random(), self._add_machine(()).start)

    def configurations(self) -> list[tuple[str, ...]]:
        """All sets of voters that some log may still tell of."""
        found: list[tuple[str, ...]] = []
        for machine in self.machines.values():
            process = machine.process
            if process is not None and process.is_open:
                found += [known.voters for known in process.core._configurations._known]
            elif not machine.gone:
                found += machine.configurations
        return found

    def calm_since(self, machine: Machine, seconds: float) -> bool:
        """It has not been paused for so long."""
        return not machine.paused and machine.disturbed_at < self.timeline.now - seconds

    # One schedule.

    def run(self) -> None:
        """Raises `Violation`."""
        profile, dice = self.profile, self.dice
        names = tuple(f"n{number + 1}" for number in range(profile.voters))
        for name in names:
            alone = name == "n1" and profile.founder_alone
            self._add_machine((name,) if alone else () if profile.founder_alone else names)
        for _ in range(profile.learners):
            self._add_machine(())
        for machine in list(self.machines.values()):
            self.timeline.after(0.2 * dice.random(), machine.start)
        self.clients.begin()
        self.admin.begin()
        if profile.founder_alone:
            self.timeline.after(0.5, self.admin.grow)
        self.timeline.run_until(1.5 * dice.random())
        if profile.steady:
            self._settle_down()
        for _ in range(dice.randint(*profile.phases)):
            self.faults.begin_phase()
            low, high = profile.phase_s
            self.timeline.run_until(self.timeline.now + low + (high - low) * dice.random())
        self._heal()
        Verdict(self).reach(self.timeline.now + MAX_VERDICT_S)

    def _settle_down(self) -> None:
        """Wait for a leader that all follow; then it has to stay."""
        self.timeline.run_until(6.0)
        if len(Verdict(self).leaders()) != 1:
            self.checks.broken("nobody leads, though nothing went wrong")
        self.faults.choose_victim()

    def _heal(self) -> None:
        """From here on nothing goes wrong."""
        self.note("healed")
        self.is_healed = True
        self.era += 1
        self.faults.end()
        self.clients.finish()
        self.admin.is_busy = False
        self.jumbling = 0.0
        self.network.heal_all()
        for machine in self.machines.values():
            machine.mend_disk()
            machine.hoards = False
            machine.hoard.clear()
            machine.disk.kill_at(0)
            machine.disk.kill_at_sync(0)
            machine.disk.sync_s = 0.0
            machine.resume()
            machine.start()
            self.announce(machine)
