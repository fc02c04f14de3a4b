"""The dispatcher's decision: what to assign, move and take back, from what is. Nothing is remembered between calls.

Level-triggered: asked again after its commands were applied it proposes nothing, and after a lost answer it proposes the
same again, which the table refuses or takes once.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, islice
from types import MappingProxyType

from sortedcontainers import SortedList

from .commands import Assign, Command, Move, Release
from .member import NodeView, Report
from .origins import origins_of, wanted_connections
from .placement import Candidate, candidate, choose, human, likely_size, misgivings, span
from .queue import Origins
from .rows import Rows
from .task import Task, TaskState

MAX_COMMANDS = 64
"""Commands a decision: some 200 bytes each, so that a proposal stays far below its 32 KB."""

NEARLY_DONE_S = 5.0
"""A download that needs no longer than that is finished where it is rather than moved."""

SOON_S = 1.0
"""What waits at one node is not given to another one if it begins so soon where it is, or gains no more than that."""

SHORTLY_S = 30.0
"""If it were done where it waits within that, it counts when it is done and not when it begins: a free slot on a link that is
full would not help it. How full a link is can only be guessed, so nothing that takes longer is left waiting for a guess."""

LONG_HOLD_MS = 10_000
"""An origin that wants to be left alone for longer than that gives the places of its tasks to others."""


def candidates(table: Rows, nodes: Iterable[NodeView]) -> list[Candidate]:
    """The members with what the table has given them."""
    views = list(nodes)
    fastest = max((view.report.peak_speed for view in views if view.report), default=0)
    return [
        candidate(
            view,
            load=table.load_of(view.member.id),
            coming=table.expected_on(view.member.id) - _held(table, view),
            given=table.given_to(view.member.id),
            policy=table.policy,
            fastest=fastest,
            unsized=table.unsized_on(view.member.id),
        )
        for view in views
    ]


def _held(table: Rows, view: NodeView) -> int:
    """Bytes that the node has of the tasks that it has now: only of those whose size is known, and never more than that."""
    if (report := view.report) is None:
        return 0
    here = (task for task_id in report.tasks if (task := table.tasks.get(task_id)))
    return sum(task.size - _missing(task, report) for task in here if task.assigned_to == view.member.id)


def decide(table: Rows, nodes: Iterable[NodeView], now: int, *, node_timeout: float) -> list[Command]:
    """What to propose now (`now` in ms, `node_timeout` in seconds); at most `MAX_COMMANDS`, more on the next call.

    Costs the assignments that it makes times the nodes, plus the distinct demands of what waits; not the table's size.
    """
    return _Decision(table, nodes, now, node_timeout).commands()


def held_back(table: Rows, task: Task, now: int) -> str:
    """Why its origins cannot be asked now, as a sentence; empty if they can."""
    for origin in origins_of(task.spec):
        if (hold := table.origins.get(origin)) and hold.until > now:
            return f"{origin} asked for fewer requests: all nodes leave it alone for another {span(hold.until - now)}."
        limit = table.policy.limit_of(origin)
        if limit and table.connections_to(origin) >= limit:
            return f"{origin} is used with as many connections as it may be, {limit} over all nodes."
    return ""


def granted(table: Rows, task: Task, opened: Mapping[str, int] = MappingProxyType({})) -> int | None:
    """How many connections the limits leave it to each of its origins: 0 for as many as it likes, None for none now.
    `opened`: how many more than the table knows there are to an origin."""
    most = 0
    for origin in origins_of(task.spec):
        if limit := table.policy.limit_of(origin):
            left = limit - table.connections_to(origin) - opened.get(origin, 0)
            if left < 1:
                return None
            most = min(most or wanted_connections(task.spec), left)
    return most


class _Decision:
    """One look at the table. What it hands out is counted here, until the table knows."""

    def __init__(self, table: Rows, nodes: Iterable[NodeView], now: int, node_timeout: float) -> None:
        self._table = table
        self._now = now
        self._strategy = table.policy.strategy
        self._views = {view.member.id: view for view in nodes}
        self._lost = {
            node for node, view in self._views.items() if view.silent_for is not None and view.silent_for > node_timeout
        }
        crew = candidates(table, self._views.values())
        self._crew = {c.id: c for c in crew if c.id not in self._lost}
        self._opened: dict[str, int] = {}
        self._given = table.assignments
        self._lengths: dict[str, _Lengths] = {}

    def commands(self) -> list[Command]:
        # First back, then out, in decisions of their own: what is taken back may be more urgent than what waits.
        for part in (self._release(), self._unblock(), self._evacuate(), self._assign(), self._balance()):
            if commands := list(islice(part, MAX_COMMANDS)):
                return commands
        return []

    def _release(self) -> Iterator[Command]:
        """Take back what lost nodes hold. A node that this leader never heard has no `silent_for` yet: it is given time."""
        for node in self._table.busy_nodes():
            view = self._views.get(node)
            if view is not None and node not in self._lost:
                continue
            silent = view.silent_for if view and view.silent_for else 0.0
            told = f"{view.member.name} was not heard for {silent:.0f} s" if view else "its node left the cluster"
            for task in self._table.assigned_to(node):
                yield Release(task.id, task.attempt, f"Taken back: {told}.", silent=round(silent * 1000))

    def _unblock(self) -> Iterator[Command]:
        """Take back what nodes have not begun and must not begin yet: another task can have its place."""
        held = {origin for origin, hold in self._table.origins.items() if hold.until > self._now + LONG_HOLD_MS}
        for c in self._crew.values() if held else ():
            for task in self._table.idle_at(c.id) if c.view.online else ():
                if origins := held.intersection(origins_of(task.spec)):
                    yield Release(
                        task.id, task.attempt, f"Taken back: {min(origins)} asked for fewer requests.", idle=True
                    )

    def _evacuate(self) -> Iterator[Command]:
        """Empty the nodes that are drained, and ease those whose disk is filling up; bytes go along."""
        for node, view in self._views.items():
            if node in self._lost or not view.online or view.report is None or not self._table.load_of(node):
                continue
            if view.member.drain_until is not None:
                yield from self._drain(view, view.member.drain_until)
            elif view.report.pressed and view.report.trouble:
                for task in self._table.assigned_to(node):
                    yield from self._elsewhere(task, f"{view.member.name}: {view.report.trouble.rstrip('.')}")
            elif view.report.pressed:
                yield from self._ease(view, view.report)

    def _drain(self, view: NodeView, until: int) -> Iterator[Command]:
        for task in self._table.assigned_to(view.member.id):
            begun = task.state is TaskState.DOWNLOADING
            if not (begun and (self._now < until or self._nearly_done(view, task))):
                yield from self._elsewhere(task, f"{view.member.name} is being drained")

    def _ease(self, view: NodeView, report: Report) -> Iterator[Command]:
        """Move away what will not fit: what needs most comes first, what nobody knows the size of last."""
        missing = [(_missing(task, report), task.id, task) for task in self._table.assigned_to(view.member.id)]
        spare = report.disk_free - self._table.policy.min_free - sum(size for size, *_ in missing)
        why = f"{view.member.name} has only {human(report.disk_free)} free"
        for size, _, task in sorted(missing, reverse=True):
            if spare < 0 and (size or not task.size):
                for move in self._elsewhere(task, why):
                    spare += size
                    yield move

    def _elsewhere(self, task: Task, why: str) -> Iterator[Move]:
        """The same task on the best other node that has room, if there is one."""
        yield from self._move(task, why, (c for c in self._crew.values() if c.id != task.node))

    def _move(self, task: Task, why: str, others: Iterable[Candidate], *, idle: bool = False) -> Iterator[Move]:
        if not self._may_return(task.bytes_on) and (choice := choose(task, others, self._strategy)):
            self._take(choice.node, task)
            yield Move(
                task.id,
                task.attempt + 1,
                choice.node,
                f"{choice.reason}; {why}",
                connections=task.connections,
                fetch=self._reachable(task.bytes_on),
                idle=idle,
            )

    def _nearly_done(self, view: NodeView, task: Task) -> bool:
        progress = view.report.progress_of(task.id, task.attempt) if view.report else None
        if progress is None or not progress.total:
            return False
        return progress.total - progress.completed <= progress.speed * NEARLY_DONE_S

    def _assign(self) -> Iterator[Command]:
        if not any(c.open for c in self._crew.values()):
            return
        walk = self._table.queue.walk(self._now)
        for place in walk:
            task = self._table.tasks[place.task_id]
            connections = self._connections(task, place.origins)
            if connections is None:
                walk.leave()
                continue
            if self._may_return(task.bytes_on):
                continue
            choice = choose(task, self._crew.values(), self._strategy)
            if choice is None:
                # Nobody can take this one, so nobody can take those that ask for the same.
                walk.give_up(place.demand)
                continue
            self._take(choice.node, task)
            for origin in place.origins:
                self._opened[origin] = self._opened.get(origin, 0) + (connections or wanted_connections(task.spec))
            elsewhere = task.bytes_on not in (None, choice.node)
            yield Assign(
                task.id,
                task.attempt + 1,
                choice.node,
                choice.reason,
                connections=connections,
                fetch=elsewhere and self._reachable(task.bytes_on),
            )
            if not any(c.open for c in self._crew.values()):
                return

    def _take(self, node: str, task: Task) -> None:
        self._given += 1
        self._crew[node] = self._crew[node].taken(task, self._given)
        if lengths := self._lengths.get(node):
            lengths.add(likely_size(task))

    def _connections(self, task: Task, origins: Origins) -> int | None:
        """As `granted`; none to an origin that wants to be left alone."""
        if any((hold := self._table.origins.get(origin)) and hold.until > self._now for origin in origins):
            return None
        return granted(self._table, task, self._opened)

    def _balance(self) -> Iterator[Command]:
        """Give what waits in one node's queue to another one: to a free slot, and once nothing is pending any more also to a
        queue that ends sooner. What has bytes already stays, and so does what would only come to a node that suits it less."""
        waiting = {c.id: over for c in self._crew.values() if c.view.online and (over := self._overhang(c)) > 0}
        for node in sorted(waiting, key=lambda node: (-self._crew[node].busy_for, node)):
            idle = islice(self._table.idle_at(node), waiting[node])
            while (others := self._relief(here := self._crew[node])) and (task := next(idle, None)):
                if task.bytes_on is None and (move := self._relieve(task, here, others)):
                    self._crew[node] = here.without(task)
                    if lengths := self._lengths.get(node):
                        lengths.remove(_left(task, here))
                    yield move

    def _relief(self, here: Candidate) -> list[Candidate]:
        """Who might be given what waits here, the one that has least to do first."""
        last = not self._table.queue.ready
        others = (
            c
            for c in self._crew.values()
            if (c.free_slot and c.id != here.id) or (last and c.open and c.busy_for + SOON_S < here.busy_for)
        )
        return sorted(others, key=lambda c: (c.busy_for, c.id))

    def _relieve(self, task: Task, here: Candidate, others: Iterable[Candidate]) -> Move | None:
        why = f"it waited at {here.view.member.name}"
        helpful = (c for c in others if self._helps(c, here, task))
        return next((move for c in helpful for move in self._move(task, why, [c], idle=True)), None)

    def _helps(self, c: Candidate, here: Candidate, task: Task) -> bool:
        """Would the task be done sooner there, or all of it and the task not later? Where sizes are guessed, a slot counts."""
        if misgivings(task, c) > misgivings(task, here):
            return False
        if not task.size or self._table.unsized_on(here.id) or self._table.unsized_on(c.id):
            return c.free_slot
        here_done, there_done = self._done(here, task), self._done(c, task) + task.size / c.rate
        if c.free_slot:
            return here_done > SHORTLY_S or there_done + SOON_S < here_done
        return there_done <= here_done and c.busy_for + task.size / c.rate + SOON_S < here.busy_for

    def _done(self, c: Candidate, task: Task) -> float:
        """Seconds that what a node has keeps its link from a task of this size, itself included if it is there: what is longer
        shares the link with it to its end."""
        lengths = self._lengths.get(c.id)
        if lengths is None:
            lengths = self._lengths[c.id] = _Lengths(_left(one, c) for one in self._table.assigned_to(c.id))
        return lengths.up_to(task.size) / c.rate

    def _overhang(self, c: Candidate) -> int:
        """How many of its tasks wait there for longer than a moment."""
        waiting = min(self._table.load_of(c.id) - c.slots, self._table.idle_count(c.id))
        return waiting - c.soon(SOON_S)

    def _may_return(self, node: str | None) -> bool:
        """Is it silent, but not for long enough to be given up? What it has may be at hand in a moment."""
        view = self._views.get(node) if node else None
        return view is not None and not view.online and node not in self._lost

    def _reachable(self, node: str | None) -> bool:
        view = self._views.get(node) if node else None
        return view is not None and view.online and node not in self._lost


class _Lengths:
    """What the tasks of a node still have to fetch, in bytes each."""

    def __init__(self, lengths: Iterable[int]) -> None:
        self._lengths = SortedList(lengths)
        self._sums: list[int] | None = None

    def up_to(self, size: int) -> int:
        """Bytes of all of them, of each at most `size`."""
        if self._sums is None:
            self._sums = [0, *accumulate(self._lengths)]
        shorter = self._lengths.bisect_left(size)
        return self._sums[shorter] + (len(self._lengths) - shorter) * size

    def add(self, length: int) -> None:
        self._lengths.add(length)
        self._sums = None

    def remove(self, length: int) -> None:
        self._lengths.remove(length)
        self._sums = None


def _left(task: Task, c: Candidate) -> int:
    """Bytes that it will still fetch there, or is thought to."""
    return _missing(task, c.view.report) if task.size and c.view.report else likely_size(task)


def _missing(task: Task, report: Report) -> int:
    """Bytes that it will still put on the disk of its node, as far as anybody knows."""
    progress = report.progress_of(task.id, task.attempt)
    return max(0, task.size - progress.completed) if progress else task.size
