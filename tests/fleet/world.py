"""The fleet: one replicated log, its leaders, the machines, the weather. Time goes in ticks, all chance comes from one seed."""

import random
from collections.abc import Callable, Iterator

from ariacluster.domain import placement, scheduler
from ariacluster.domain.commands import (
    Assign,
    Command,
    Complete,
    Configure,
    Fail,
    Move,
    Proposal,
    Register,
    Release,
    Start,
    Submit,
    TaskCommand,
    Took,
)
from ariacluster.domain.member import Member, NodeView
from ariacluster.domain.origins import origins_of
from ariacluster.domain.policy import Policy
from ariacluster.domain.queue import demand_of
from ariacluster.domain.reconcile import Discard, Receipt
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import FINAL, Task, TaskSpec, TaskState

from .machine import Machine
from .origin import Origin
from .telling import said
from .weather import STORMY, Weather

TICK_MS = 250
NODE_TIMEOUT = 20.0
OFFLINE_AFTER = 5.0
ASKING_MS = 2_000
MIN_FREE = 1_000_000_000


class Broken(AssertionError):
    """A promise was broken; the text is the timeline."""


class Fleet:
    """A cluster with its machines, all there from the first moment. `truth` is the table after all that was committed."""

    def __init__(
        self,
        seed: int,
        members: list[Member],
        *,
        weather: Weather | None = None,
        policy: Policy | None = None,
        uplink: int = 10_000_000,
        disk: int = 50_000_000_000,
    ) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.now = 1_000_000
        self.weather = weather or Weather()
        self.log: list[Proposal] = []
        self.truth = TaskTable()
        self.leader: str | None = None
        self.origins: dict[str, Origin] = {}
        self.sizes: dict[str, int] = {}
        self.fetched: dict[str, int] = {}
        """Bytes that came from the origin, by task."""
        self.unsaved: dict[str, int] = {}
        """Of those, bytes that an engine had not written down when it died."""
        self.completed: dict[str, int] = {}
        self.timeline: list[tuple[int, str]] = []
        self.machines = {
            member.id: Machine(self, member, uplink=uplink, disk=disk, skew=self.dice.randrange(-300, 300))
            for member in members
        }
        self._election_at = self.now
        self._agenda: list[tuple[int, int, Callable[[], object]]] = []
        self._proposals = 0
        self._things = 0
        for member in members:
            self._commit(self._proposal(member.id, (Register(member),)))
        self._commit(self._proposal(members[0].id, (Configure(policy or Policy(min_free=MIN_FREE)),)))
        for machine in self.machines.values():
            machine.catch_up(len(self.log))

    # -- telling --------------------------------------------------------------------------------------------------

    def note(self, what: str | Callable[[], str]) -> None:
        self.timeline.append((self.now, what if isinstance(what, str) else what()))

    def story(self, task_id: str | None = None, last: int = 80) -> str:
        """The timeline, of one task or of all."""
        lines = [f"{(at - 1_000_000) / 1000:9.2f} s  {what}" for at, what in self.timeline]
        if task_id is not None:
            lines = [
                line for line in lines if task_id in line or " dies" in line or " leads" in line or " back" in line
            ]
        return "\n".join(lines[-last:])

    def broken(self, promise: str, task_id: str | None = None) -> Broken:
        row = self.truth.tasks.get(task_id) if task_id else None
        return Broken(f"seed {self.seed}: {promise}\n{row}\n{self.story(task_id)}")

    # -- the log --------------------------------------------------------------------------------------------------

    def _proposal(self, by: str, commands: tuple[Command, ...]) -> Proposal:
        self._proposals += 1
        return Proposal(id=str(self._proposals), at=self.now + self.machines[by].skew, by=by, commands=commands)

    def propose(self, by: str, *commands: Command) -> bool:
        """Say it to the leader; True if the answer came back. False: nobody can tell."""
        machine = self.machines[by]
        if not self._can_commit(machine):
            return False
        proposal, roll, weather = self._proposal(by, commands), self.dice.random(), self.weather
        if roll < weather.loses_proposal:
            return False
        roll -= weather.loses_proposal
        if roll < weather.delays_proposal:
            self.later(self.dice.randrange(250, 8_000), lambda: self._commit_late(proposal))
            return False
        self._commit(proposal)
        if self.dice.random() < weather.repeats_proposal:
            self.later(self.dice.randrange(250, 8_000), lambda: self._commit_late(proposal))
        if roll < weather.delays_proposal + weather.loses_answer or machine.deaf_until > self.now:
            self.note(f"{by} does not hear the answer")
            return False
        machine.catch_up(len(self.log))
        return True

    def _can_commit(self, machine: Machine) -> bool:
        leader = self.machines.get(self.leader or "")
        return leader is not None and leader.up and self.linked(machine, leader) and self._has_majority(leader)

    def _commit_late(self, proposal: Proposal) -> None:
        if self.leader is not None:
            self.note(f"a proposal of {proposal.by} arrives late")
            self._commit(proposal)

    def _commit(self, proposal: Proposal) -> None:
        known = proposal.id in self.truth.recent
        attempts = {task_id: row.attempt for task_id in _tasks_of(proposal) if (row := self.truth.tasks.get(task_id))}
        self.log.append(proposal)
        applied = self.truth.apply(proposal)
        for command, outcome in zip(proposal.commands, applied.outcomes, strict=True):
            self.note(said(proposal.by, command, outcome))
            if known or outcome is not None or not isinstance(command, Took | Start | Complete | Fail | Release):
                continue
            if attempts.get(command.task, command.attempt) != command.attempt:
                raise self.broken("it listens to an attempt that is over", command.task)
        for change in applied.changes:
            before, after = change
            if after is None or before is None:
                continue
            if after.state is TaskState.COMPLETED and before.state is not TaskState.COMPLETED:
                self.completed[after.id] = self.completed.get(after.id, 0) + 1
                if self.completed[after.id] > 1:
                    raise self.broken("it completed twice", after.id)
                assert after.node is not None and after.result is not None
                self.machines[after.node].accepted[after.id] = Receipt(attempt=after.attempt, result=after.result)
                if after.result.total_bytes != self.sizes[after.id]:
                    raise self.broken("it is not whole", after.id)
            if after.attempt != before.attempt:
                self._check_demands(after)

    # -- who hears whom -------------------------------------------------------------------------------------------

    def linked(self, one: Machine, other: Machine) -> bool:
        return one is other or (one.up and other.up and not one.isolated and not other.isolated)

    def _has_majority(self, leader: Machine) -> bool:
        there = sum(self.linked(leader, machine) for machine in self.machines.values())
        return 2 * there > len(self.machines)

    def _elect(self) -> None:
        leader = self.machines.get(self.leader or "")
        if leader is not None and leader.up and self._has_majority(leader):
            return
        self.unseat(self.leader)
        if self.now < self._election_at:
            return
        able = [m for m in self.machines.values() if m.up and self._has_majority(m)]
        if able:
            elected = self.dice.choice(able)
            self.leader, elected.leading_since = elected.id, self.now
            elected.catch_up(len(self.log))
            elected.heard.clear()
            self.note(f"{elected.id} leads")

    def unseat(self, node: str | None) -> None:
        """If `node` leads, it does no more; there will be another leader."""
        if node is not None and node == self.leader:
            self.machines[node].leading_since = None
            self.leader = None
            self._election_at = self.now + self.dice.randrange(500, 2_500)

    # -- time -----------------------------------------------------------------------------------------------------

    def later(self, ms: int, what: Callable[[], object]) -> None:
        self._things += 1
        self._agenda.append((self.now + ms, self._things, what))

    def tick(self) -> None:
        self.now += TICK_MS
        due = sorted(thing for thing in self._agenda if thing[0] <= self.now)
        self._agenda = [thing for thing in self._agenda if thing[0] > self.now]
        for _, _, what in due:
            what()
        self._elect()
        leader = self.machines.get(self.leader or "")
        for machine in self.machines.values():
            if not machine.up:
                continue
            behind = machine.applied < len(self.log) and machine.deaf_until <= self.now
            if behind and leader and self.linked(machine, leader):
                lag = self.dice.randrange(0, 4) if self.dice.random() < self.weather.lags else 0
                machine.catch_up(len(self.log) - lag)
            machine.run(TICK_MS)
            machine.work()
        if leader is not None and leader.up:
            self._reports(leader)
            self._lead(leader)

    def _reports(self, leader: Machine) -> None:
        for machine in self.machines.values():
            report = machine.report() if machine.up and self.linked(machine, leader) else None
            if report is not None and self.dice.random() >= self.weather.loses_report:
                leader.heard[machine.id] = (report, self.now)

    def _lead(self, leader: Machine) -> None:
        if leader.deaf_until > self.now:
            return
        for _ in range(8):
            if self.leader != leader.id or not self._can_commit(leader):
                return
            leader.catch_up(len(self.log))
            now = self.now + leader.skew
            commands = scheduler.decide(leader.table, self._views(leader), now, node_timeout=NODE_TIMEOUT)
            if not commands:
                return
            self._check_decision(leader, commands, now)
            if not self.propose(leader.id, *commands):
                return

    def _views(self, leader: Machine) -> list[NodeView]:
        return [self._view(leader, member) for member in leader.table.members.values()]

    def _view(self, leader: Machine, member: Member) -> NodeView:
        report, at = leader.heard.get(member.id, (None, None))
        assert leader.leading_since is not None
        led = (self.now - leader.leading_since) / 1000
        silent = None if at is None else (self.now - at) / 1000
        online = silent is not None and silent < OFFLINE_AFTER
        return NodeView(
            member=member, report=report, silent_for=led if silent is None else min(silent, led), online=online
        )

    # -- people ---------------------------------------------------------------------------------------------------

    def submit(self, task_id: str, spec: TaskSpec, size: int, *, via: str) -> None:
        """Taken in by `via`, which asks the origin how large it is."""
        for name in origins_of(spec):
            self.origins.setdefault(name, Origin(name))
        self.sizes[task_id] = size
        machine = self.machines[via]
        self._commit(self._proposal(via, (Submit(task_id, spec, ASKING_MS),)))
        machine.asking[task_id] = self.now + self.dice.randrange(100, 1_500)

    def say(self, command: Command) -> bool:
        """A person says it to any node that can have it committed; True if it was taken."""
        for machine in self.machines.values():
            if machine.up and self._can_commit(machine):
                self._commit(self._proposal(machine.id, (command,)))
                return True
        return False

    # -- what origins see -----------------------------------------------------------------------------------------

    def origin_of(self, spec: TaskSpec) -> Origin:
        return self.origins[origins_of(spec)[0]]

    def active_at(self, origin: str) -> int:
        return sum(
            running.status == "active" and self.origin_of(running.spec).name == origin
            for machine in self.machines.values()
            for running in machine.engine.values()
        )

    # -- what must hold at any time -------------------------------------------------------------------------------

    def _check_demands(self, row: Task) -> None:
        assert row.node is not None
        member = self.truth.members[row.node]
        lacks = {key for key, value in row.spec.tags.items() if member.tags.get(key) != value}
        if lacks or row.spec.node not in (None, member.id, member.name):
            raise self.broken(f"{row.node} is not what it asks for", row.id)

    def _check_decision(self, leader: Machine, commands: list[Command], now: int) -> None:
        table, views = leader.table, {view.member.id: view for view in self._views(leader)}
        opened: dict[str, int] = {}
        loads: dict[str, int] = {}
        bulks: dict[str, int] = {}
        for command in commands:
            if not isinstance(command, Assign | Move):
                continue
            view = views[command.node]
            loads[command.node] = loads.get(command.node, table.load_of(command.node)) + 1
            size = table.tasks[command.task].size
            bulks[command.node] = bulks.get(command.node, _coming(table, view)) + size
            soon = max(placement.USUAL_SPEED, view.report.peak_speed if view.report else 0) * placement.AHEAD_SECONDS
            quick = size > 0 and bulks[command.node] <= soon
            if loads[command.node] > table.policy.slots_of(view.member) + (
                placement.MAX_AHEAD if quick else placement.AHEAD
            ):
                raise self.broken(f"{command.node} is given more than it can begin", command.task)
            if view.member.drain_until is not None or not view.online:
                raise self.broken(f"{command.node} takes nothing now", command.task)
            if isinstance(command, Move):
                continue
            for origin in origins_of(table.tasks[command.task].spec):
                if (hold := table.origins.get(origin)) and hold.until > now:
                    raise self.broken(f"{origin} is to be left alone", command.task)
                opened[origin] = opened.get(origin, table.connections_to(origin)) + (command.connections or 8)
                limit = table.policy.limit_of(origin)
                if limit and opened[origin] > limit:
                    raise self.broken(f"{origin} is used with {opened[origin]} connections", command.task)

    def check_discard(self, machine: Machine, action: Discard) -> None:
        """Nobody throws away what the cluster counts on, however old its table is."""
        row = self.truth.tasks.get(action.task_id)
        if row is not None and machine.holds_bytes_of(row):
            raise self.broken(f"{machine.id} throws away the bytes that count", action.task_id)

    def note_resumed(self, machine: Machine, task: Task, got: int) -> None:
        """It goes on with what it has; by then all that lies elsewhere must be here, or given up."""
        self.note(lambda: f"{machine.id}: goes on with {task.id} at byte {got}")
        row = self.truth.tasks.get(task.id)
        if row is not None and row.attempt == task.attempt and row.bytes_on not in (None, machine.id):
            raise self.broken(f"{machine.id} begins without what {row.bytes_on} has", task.id)

    # -- coming to rest -------------------------------------------------------------------------------------------

    def unfinished(self) -> Iterator[Task]:
        for state in TaskState:
            if state not in FINAL and state is not TaskState.PAUSED:
                for task_id in self.truth.by_state[state].values():
                    row = self.truth.tasks[task_id]
                    if not self.finds_no_room(row):
                        yield row

    def finds_no_room(self, row: Task) -> bool:
        """No machine that could take it has room for the rest of it: it waits until somebody makes some."""
        if not row.size or row.not_before > self.now:
            return False
        if row.state is not TaskState.PENDING and not (row.node and self.machines[row.node].full):
            return False
        demand = demand_of(row)
        views = (NodeView(member=member, report=None, silent_for=None, online=False) for member in self._alive())
        able = [self.machines[c.id] for c in (placement.Candidate(view, 0, 0) for view in views) if c.fulfils(demand)]
        return bool(able) and not any(self._has_room(machine, row) for machine in able)

    def _has_room(self, machine: Machine, row: Task) -> bool:
        if machine.full and row.assigned_to == machine.id:
            return False
        return machine.disk_free - self.truth.policy.min_free >= (
            0 if row.bytes_on == machine.id else demand_of(row).room
        )

    def _alive(self) -> Iterator[Member]:
        return (member for member in self.truth.members.values() if not self.machines[member.id].gone)

    @property
    def busy(self) -> bool:
        return next(self.unfinished(), None) is not None

    def at_rest(self) -> bool:
        """Nothing is to be done, and everybody knows everything."""
        return (
            not self.busy
            and not self._agenda
            and all(m.idle and not m.engine and m.applied == len(self.log) for m in self.machines.values() if m.up)
        )

    def settle(self, seconds: float) -> bool:
        """Go on until all is at rest, for so long at most."""
        end = self.now + int(seconds * 1000)
        while self.now < end:
            self.tick()
            if self.at_rest():
                return True
        return False


def _tasks_of(proposal: Proposal) -> list[str]:
    """Those of which it has one word only."""
    named = [command.task for command in proposal.commands if isinstance(command, TaskCommand)]
    return [task_id for task_id in named if named.count(task_id) == 1]


__all__ = ["STORMY", "Broken", "Fleet", "Weather"]


def _coming(table: TaskTable, view: NodeView) -> int:
    """Bytes that the node still has to fetch of what it has, as far as its report tells."""
    known = view.report.tasks if view.report else {}
    return sum(
        row.size
        - min(row.size, known[row.id].completed if row.id in known and known[row.id].attempt == row.attempt else 0)
        for row in table.assigned_to(view.member.id)
    )
