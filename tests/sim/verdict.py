"""After healing: is the cluster whole, at one, and calm again? And was nothing that was promised forgotten?"""

from typing import TYPE_CHECKING

from ariacluster_node.adapters.raft.configurations import majority

from .process import Process

if TYPE_CHECKING:
    from .world import World

LOOK_S = 0.1
AFTERMATH_S = 0.8
"""A leader that was handing over, and was not succeeded, stands down after 0.6 s."""

CALM_S = 1.2
"""So long nothing may happen to who leads, in the end."""

MAX_QUEUED = 300

LATE_ENTRIES = 100
"""More than come while a snapshot is being made."""

LATE_S = 0.5
"""In the calm, something that was on its way for long may still arrive; soon after, all have it."""

HALF_DEAD_S = 5.5
"""A node that lost its power, and dials whom it was linked to, is turned away until the other end has noticed that the old
link is dead (3 s), and dials again (2 s)."""


class Verdict:
    """Goes through what must become true, one after the other; then looks that it stays so."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def reach(self, deadline: float) -> None:
        """Raises `Violation` with the first thing that does not come true by then."""
        self._world.timeline.run_until(self._world.timeline.now + AFTERMATH_S)
        for wanted in (self._are_up, self._one_leads, self._all_is_done, self._are_equal, self._are_linked):
            while (lacking := wanted()) is not None:
                if self._world.timeline.now >= deadline:
                    if wanted == self._one_leads and not self._can_decide():
                        self._world.count("undecidable")
                        return
                    self._world.checks.broken(
                        f"{lacking}, {deadline:.1f} s after the beginning, and nothing goes wrong"
                    )
                self._world.timeline.run_until(self._world.timeline.now + LOOK_S)
        self._work()
        self._stay_calm()
        self._leave_nothing()

    def _processes(self) -> list[Process]:
        return [p for m in self._world.machines.values() if (p := m.process) is not None and p.is_open]

    def leaders(self) -> list[Process]:
        return [process for process in self._processes() if process.status.leads]

    def _leader(self) -> Process | None:
        leaders = self.leaders()
        return leaders[0] if len(leaders) == 1 else None

    def _can_decide(self) -> bool:
        """Disks may have been lost in the very moment in which they came to be needed: that is the fault of this world."""
        gone = {machine.name for machine in self._world.machines.values() if machine.gone}
        return all(len(set(voters) - gone) >= majority(voters) for voters in self._world.configurations() if voters)

    # What must become true: each answers what is lacking.

    def _are_up(self) -> str | None:
        up = {process.machine.name for process in self._processes()}
        down = [
            machine.name for machine in self._world.machines.values() if not machine.gone and machine.name not in up
        ]
        return f"{' '.join(down)} not up" if down else None

    def _one_leads(self) -> str | None:
        leader = self._leader()
        if leader is None:
            return "no leader, or several"
        if leader.machine.name not in leader.core._configurations.latest.voters:
            return f"{leader.machine.name} leads, and is no voter"
        deaf = [
            p.machine.name for p in self._processes() if p.status.leader != leader.machine.name or not p.status.ready
        ]
        return f"{' '.join(deaf)} not behind {leader.machine.name}" if deaf else None

    def _all_is_done(self) -> str | None:
        if self._world.clients.open:
            return f"{len(self._world.clients.open)} commands not acknowledged"
        return None

    def _are_equal(self) -> str | None:
        heads = {process.machine.name: process.ledger.head for process in self._processes()}
        if len(set(heads.values())) > 1 or any(h.position < len(self._world.checks.chronicle) for h in heads.values()):
            return f"not all have the same state: {heads}"
        voters = {process.core._configurations.latest.voters for process in self._processes()}
        return f"not at one about who votes: {voters}" if len(voters) > 1 else None

    def _are_linked(self) -> str | None:
        """Each voter with everybody."""
        processes = self._processes()
        voters = set(self._world.checks.voters)
        for process in processes:
            for other in processes:
                names = (process.machine.name, other.machine.name)
                if (
                    process is not other
                    and (names[0] in voters or names[1] in voters)
                    and names[1] not in process.links.connected
                ):
                    return f"{names[0]} has no link to {names[1]}"
        return None

    # Then.

    def _work(self) -> None:
        """Each node takes a command and answers a fresh read, at the first try."""
        world = self._world
        for process in self._processes():
            world.clients.submit()
            world.clients.read(process)
        end = world.timeline.now + 5.0
        while world.clients.open or any(process.tokens for process in self._processes()):
            world.timeline.run_until(world.timeline.now + 0.02)
            if world.timeline.now >= end:
                asked = [str(token) for process in self._processes() for token in process.tokens]
                if not world.clients.open and world.profile.jumbled:
                    break  # what was lost on the way is never answered
                world.checks.broken(f"{len(world.clients.open)} commands not done, not settled: {asked}")

    def _stay_calm(self) -> None:
        world, before = self._world, self._leader()
        if before is None:
            world.checks.broken("no leader any more, though nothing went wrong")
            return
        term = before.status.term
        world.timeline.run_until(world.timeline.now + CALM_S)
        after = self._leader()
        if after is not before or any(process.status.term != term for process in self._processes()):
            world.checks.broken(
                f"{before.machine.name} led in term {term}; somebody else was elected, though nothing went wrong"
            )
        calm = world.timeline.now
        patience = {self._one_leads: 0.0, self._are_equal: LATE_S, self._are_linked: HALF_DEAD_S}
        for wanted, seconds in patience.items():
            while (lacking := wanted()) is not None:
                if world.timeline.now >= calm + seconds:
                    world.checks.broken(f"{lacking}, after all was well")
                world.timeline.run_until(world.timeline.now + LOOK_S)

    def _leave_nothing(self) -> None:
        """Nothing has grown that should not have."""
        world = self._world
        for process in self._processes():
            name, core = process.machine.name, process.core
            if len(process.ledger.effects) != len(set(process.ledger.effects)):
                world.checks.broken(f"{name}: an id had effect twice")
            waiting = len(core._reads) + len(core._asked)
            waiting += len(core._SyncObj__commandsWaitingReply) + len(core._SyncObj__commandsWaitingCommit)
            if waiting > (0 if not world.profile.jumbled else MAX_QUEUED):
                world.checks.broken(f"{name}: {waiting} requests wait in the core, though all were settled")
            names = process.machine.disk.names()
            snapshots = [name for name in names if name.startswith("snapshot")]
            needed = sum(len(command) + 20 for command, _, _ in process.wal[:]) // 1024 + process.machine.lives
            if len(snapshots) > 2 or len(names) > needed + 60:  # one goes with each sync
                world.checks.broken(f"{name}: files are left behind: {names}")
            length, every = len(process.wal), world.compact_entries
            if length > 2 * every + world.keep_entries + LATE_ENTRIES:
                world.checks.broken(f"{name}: the log has {length} entries, and is compacted each {every}")
