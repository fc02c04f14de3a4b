"""Which node a task should run on, and why. Pure: the same table and reports give the same answer."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .member import NodeView
from .policy import Policy, Strategy
from .queue import Demand, demand_of
from .task import FailureKind, Task

AHEAD = 2
"""Tasks given to a node beyond its slots, so that its aria2 has the next one at hand while the log commits."""

MAX_AHEAD = 256
"""So many at most, to a node that finishes several within"""

AHEAD_SECONDS = 2.0
"""this time, by its pace or by their sizes: an assignment, and the news of its end, take some ten milliseconds each."""

USUAL_SIZE = 50_000_000
"""Bytes that a task is thought to have if nobody knows."""

USUAL_SPEED = 5_000_000
"""Bytes per second that a node is thought to reach until it was seen to reach more."""

BUSY_CPU = 90.0
"""Percent: a machine that is so busy counts for half."""

UNMEASURED = 1.0
"""What a node counts for whose speed nobody has seen yet: as much as the fastest, so that it will be seen."""

SLOWEST = 0.1
"""However slow a node was lately, it counts for a tenth of the fastest: a slow origin must not be its end."""


class Candidate(NamedTuple):
    """A node as placement sees it. `load` counts what it has been given, running or not; `free` (bytes) is what is left on its
    disk when all of that is whole; `given`: which assignment was its last; `speed` is its share of the fastest
    node's, lately. `slots`: how many tasks it runs at a time. `unfit`: why it takes nothing, else empty; `room`: how many more
    tasks it may be given now, and `bulk`: as many more of known size as have so many bytes together. `work`: bytes that it
    still has to fetch, as far as one can tell, and `rate`: so many of them in a second."""

    view: NodeView
    load: int
    free: int
    given: int = 0
    speed: float = UNMEASURED
    unfit: str = ""
    room: int = 0
    bulk: int = 0
    work: int = 0
    slots: int = 0
    rate: int = USUAL_SPEED

    @property
    def id(self) -> str:
        return self.view.member.id

    def soon(self, seconds: float) -> int:
        """How many tasks it will have finished by then, at its pace."""
        return _soon(self.view, seconds)

    @property
    def trouble(self) -> str:
        """What keeps it from working at all, in its own words; empty if nothing does."""
        return self.view.report.trouble if self.view.report and self.view.online else ""

    @property
    def waits(self) -> bool:
        """Would a task have to wait for a slot there?"""
        return self.load >= self.slots

    @property
    def free_slot(self) -> bool:
        """Would a task that it may be given now begin at once?"""
        return self.room > 0 and not self.waits

    @property
    def busy_for(self) -> float:
        """Seconds until it has fetched all that it was given."""
        return self.work / self.rate

    @property
    def open(self) -> bool:
        """May it be given anything at all now?"""
        return self.room > 0 or self.bulk > 0

    def takes(self, task: Task) -> bool:
        """May it be given this one now?"""
        return self.room > 0 or 0 < task.size <= self.bulk

    def fulfils(self, demand: Demand) -> bool:
        """Does it carry the tags, and is it the node that is asked for?"""
        tags = self.view.member.tags
        return demand.node in (None, self.id, self.view.member.name) and all(
            tags.get(key) == value for key, value in demand.tags
        )

    def holds(self, task: Task) -> bool:
        """Is there, or will there be, room for the whole of it?"""
        return self.offers(demand_of(task))

    def offers(self, demand: Demand) -> bool:
        """Has it the room? How much it has of the task already is not known here; where that does not do, the disk runs full
        and the task moves."""
        return demand.home == self.id or demand.room <= max(0, self.free)

    def taken(self, task: Task, given: int) -> "Candidate":
        """The same node with one task more, which is assignment number `given`."""
        left = self.slots + MAX_AHEAD - self.load - 1
        return self._replace(
            load=self.load + 1,
            free=self.free - task.size,
            given=given,
            room=max(0, self.room - 1),
            work=self.work + likely_size(task),
            bulk=max(0, self.bulk - task.size) if task.size and left > 0 else 0,
        )

    def without(self, task: Task) -> "Candidate":
        """The same node without a task that it had not begun."""
        return self._replace(load=self.load - 1, free=self.free + task.size, work=self.work - likely_size(task))


def candidate(
    view: NodeView, *, load: int, coming: int, given: int, policy: Policy, fastest: int = 0, unsized: int = 0
) -> Candidate:
    """`coming`: bytes that the tasks of the node will still put on its disk, but for `unsized` of them. `fastest`: of all
    nodes, bytes/s."""
    report = view.report
    free = report.disk_free - coming - policy.min_free if report else 0
    speed = UNMEASURED
    if report and report.peak_speed and fastest:
        speed = max(SLOWEST, report.peak_speed / fastest)
    rate = int(speed * fastest) or USUAL_SPEED
    why_not = unfit(view, policy)
    slots = policy.slots_of(view.member)
    room = bulk = 0
    if report and not why_not:
        room = max(0, slots + AHEAD + _soon(view, AHEAD_SECONDS) - load)
        if load < slots + MAX_AHEAD:
            bulk = max(0, int(max(report.peak_speed, USUAL_SPEED) * AHEAD_SECONDS) - coming)
    work = max(0, coming) + unsized * USUAL_SIZE
    return Candidate(view, load, free, given, speed, why_not, room, bulk, work, slots, rate)


def likely_size(task: Task) -> int:
    """Bytes that it has, or is thought to have."""
    return task.size or USUAL_SIZE


def _soon(view: NodeView, seconds: float) -> int:
    pace = view.report.pace if view.report else 0.0
    return int(min(MAX_AHEAD - AHEAD, max(0.0, pace * seconds)))  # in this order NaN, too, comes out as 0


def unfit(view: NodeView, policy: Policy) -> str:
    """Why a node takes no task at all, as the end of "NAME …"; empty if it does."""
    member, report = view.member, view.report
    if not view.online or report is None:
        return "is offline"
    if member.witness:
        return "is a witness: it votes and downloads nothing"
    if member.drain_until is not None:
        return "is being drained"
    if policy.slots_of(member) < 1:
        return "has no slots"
    if report.trouble:
        return f"takes no tasks: {report.trouble.rstrip('.')}"
    if report.pressed or report.disk_free < policy.min_free:
        return f"has only {human(report.disk_free)} free"
    return ""


class Choice(NamedTuple):
    node: str
    reason: str


def choose(task: Task, candidates: Iterable[Candidate], strategy: Strategy = Strategy.LEAST_LOADED) -> Choice | None:
    """The best node with room that fulfils the task's demands, and the sentence that says why it is."""
    demand = demand_of(task)
    fit = [c for c in candidates if c.takes(task) and c.fulfils(demand) and c.offers(demand)]
    if not fit:
        return None
    best = min(fit, key=lambda c: _rank(task, c, strategy))
    return Choice(best.id, _why(task, best, strategy))


def misgivings(task: Task, c: Candidate) -> tuple[int, int]:
    """What speaks against the node whatever is free there, smaller is better: failures of the task on it, then tags that the
    task would like and the node lacks. An origin that was too busy is no failure of the node that asked it."""
    if not task.failures and not task.spec.prefer_tags:
        return (0, 0)
    here = [f for f in task.failures if f.node == c.id and f.kind is not FailureKind.THROTTLED]
    at_fault = sum(f.kind is FailureKind.NODE or f.ran >= 0 for f in here)
    missing = sum(c.view.member.tags.get(key) != value for key, value in task.spec.prefer_tags.items())
    return (at_fault + len(here) // 2, missing)


def _rank(task: Task, c: Candidate, strategy: Strategy) -> tuple[object, ...]:
    """Smaller is better. A node against which something speaks comes later; one with a slot free, sooner; where its bytes are,
    sooner; then by the strategy, and of equals the one with the (much) larger disk."""
    first = (*misgivings(task, c), c.waits)
    match strategy:
        case Strategy.ROUND_ROBIN:
            return (*first, c.given, c.id)
        case Strategy.RANDOM:
            dice = hashlib.blake2b(f"{task.id}/{task.attempt}/{c.id}".encode(), digest_size=8).digest()
            return (*first, dice)
    return (*first, not _has_bytes(task, c), _weight(task, c), -max(0, c.free).bit_length(), c.id)


def _has_bytes(task: Task, c: Candidate) -> bool:
    return (task.bytes_on or task.node) == c.id


def _weight(task: Task, c: Candidate) -> float:
    """How long its part of the work takes it, compared to others: this task included, by slots, speed and a busy CPU."""
    report = c.view.report
    cpu = 0.5 if report and report.cpu > BUSY_CPU else 1.0
    return (c.work + likely_size(task)) / (c.slots * c.speed * cpu)


def _why(task: Task, c: Candidate, strategy: Strategy) -> str:
    member = c.view.member
    free = max(0, c.slots - c.load)
    parts = [f"{free} of {c.slots} slots free" if free else "next in its queue"]
    match strategy:
        case Strategy.ROUND_ROBIN:
            parts.append("its turn")
        case Strategy.RANDOM:
            parts.append("by lot")
    if task.bytes_on == c.id:
        parts.append("has a part of it")
    elif task.node == c.id and task.attempt:
        parts.append("tried here before")
    if c.view.report:
        if c.view.report.peak_speed:
            parts.append(f"{human(c.view.report.peak_speed)}/s lately")
        parts.append(f"{human(c.view.report.disk_free)} free")
    wanted = task.spec.tags | task.spec.prefer_tags
    has = [f"{key}={value}" for key, value in sorted(wanted.items()) if member.tags.get(key) == value]
    if has:
        parts.append(f"has {', '.join(has)}")
    elif strategy is Strategy.TAGS and task.spec.prefer_tags:
        parts.append("no node has the tags that it prefers")
    return f"{member.name}: {', '.join(parts)}"


def explain(task: Task, candidates: Sequence[Candidate], now: int, *, held: str = "") -> str:
    """Why a pending task has no node yet, as a sentence. `held`: why its origins cannot be asked now, if they cannot."""
    if task.not_before > now:
        return _not_yet(task, now)
    demand = demand_of(task)
    able = [c for c in candidates if c.fulfils(demand)]
    if not candidates:
        return "No node is in the cluster yet."
    if demand.node is not None and not able:
        return f"The node it is pinned to, {demand.node}, is not in the cluster or lacks a tag that it needs."
    if not able:
        tags = " and ".join(f"{key}={value}" for key, value in demand.tags)
        return f"No online node has {'tag' if len(demand.tags) == 1 else 'tags'} {tags}."
    fit = [c for c in able if not c.unfit]
    if not fit:
        return f"No node can take it: {'; '.join(f'{c.view.member.name} {c.unfit}' for c in able)}."
    roomy = [c for c in fit if c.offers(demand)]
    if not roomy:
        spare = "; ".join(f"{c.view.member.name} has {human(max(0, c.free))} to spare" for c in fit)
        return f"No node has room for its {human(task.size)}: {spare}."
    if held:
        return held
    if not any(c.takes(task) for c in roomy):
        return "Every node that could take it is busy."
    if away := [c.view.member.name for c in candidates if c.id == task.bytes_on and not c.view.online]:
        return f"What was fetched so far is on {away[0]}, which is offline. It is given a moment to come back."
    return "Waiting for the dispatcher."


def _not_yet(task: Task, now: int) -> str:
    wait = span(task.not_before - now)
    if task.spec.not_before >= task.not_before:
        return f"It begins in {wait}."
    if task.attempt == 0:
        return "Its server is asked how large it is."
    return f"{task.reason} Next try in {wait}.".strip()


def span(ms: float) -> str:
    """A time for a sentence, in whole units of which there are at least two: 90 s, 3 min, 26 h."""
    seconds = max(1, round(ms / 1000))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{round(seconds / length)} {unit}"
    return f"{seconds} s"


def human(size: float) -> str:
    """Bytes for a sentence: 1.2 TB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("B", "kB") or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
