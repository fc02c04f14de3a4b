"""Which node a task should run on, and why. Pure: the same table and reports give the same answer."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .member import NodeView
from .queue import Demand, demand_of
from .task import FailureKind, Task

AHEAD = 2
"""Tasks given to a node beyond its slots, so that its aria2 has the next one at hand while the log commits."""

MIN_DISK_FREE = 256 * 1024 * 1024
"""A node with less free space (bytes) takes no new tasks; it must be able to keep its own log."""


class Candidate(NamedTuple):
    """A node as placement sees it: `load` counts what it has been given, running or not."""

    view: NodeView
    load: int

    @property
    def id(self) -> str:
        return self.view.member.id

    @property
    def room(self) -> int:
        """How many more tasks it may be given now."""
        return 0 if self.unfit() else max(0, self.view.member.slots + AHEAD - self.load)

    def unfit(self) -> str:
        """Why it takes no task at all, as the end of "NAME …"; empty if it does."""
        if not self.view.online or self.view.report is None:
            return "is offline"
        if self.view.member.witness:
            return "is a witness: it votes and downloads nothing"
        if self.view.member.slots < 1:
            return "has no slots"
        if self.view.report.trouble:
            return f"takes no tasks: {self.view.report.trouble}"
        if self.view.report.disk_free < MIN_DISK_FREE:
            return f"has only {human(self.view.report.disk_free)} free"
        return ""

    def fulfils(self, demand: Demand) -> bool:
        tags = self.view.member.tags
        return demand.node in (None, self.id, self.view.member.name) and all(
            tags.get(key) == value for key, value in demand.tags
        )


class Choice(NamedTuple):
    node: str
    reason: str


def choose(task: Task, candidates: Iterable[Candidate]) -> Choice | None:
    """The best node with room that fulfils the task's demands, and the sentence that says why it is."""
    demand = demand_of(task)
    fit = [c for c in candidates if c.room and c.fulfils(demand)]
    if not fit:
        return None
    best = min(fit, key=lambda c: _rank(task, c))
    return Choice(best.id, _why(task, best))


def _rank(task: Task, c: Candidate) -> tuple[int, int, bool, bool, float, str]:
    """Smaller is better. A node where the task failed comes later; where its bytes are, sooner; then the least loaded."""
    here = [f for f in task.failures if f.node == c.id]
    at_fault = sum(f.kind is FailureKind.NODE for f in here)
    missing = sum(c.view.member.tags.get(key) != value for key, value in task.spec.prefer_tags.items())
    waits = c.load >= c.view.member.slots
    return (at_fault + len(here) // 2, missing, waits, task.node != c.id, c.load / c.view.member.slots, c.id)


def _why(task: Task, c: Candidate) -> str:
    member = c.view.member
    free = max(0, member.slots - c.load)
    parts = [f"{free} of {member.slots} slots free" if free else "next in its queue"]
    if task.node == c.id and task.attempt:
        parts.append("tried here before")
    if c.view.report:
        parts.append(f"{human(c.view.report.disk_free)} free")
    wanted = task.spec.tags | task.spec.prefer_tags
    has = [f"{key}={value}" for key, value in sorted(wanted.items()) if member.tags.get(key) == value]
    if has:
        parts.append(f"has {', '.join(has)}")
    return f"{member.name}: {', '.join(parts)}"


def explain(task: Task, candidates: Sequence[Candidate], now: int) -> str:
    """Why a pending task has no node yet, as a sentence."""
    if task.not_before > now:
        wait = max(1, round((task.not_before - now) / 1000))
        return f"{task.reason} Next try in {wait} s.".strip()
    demand = demand_of(task)
    able = [c for c in candidates if c.fulfils(demand)]
    if demand.node is not None and not able:
        return f"The node it is pinned to, {demand.node}, is not in the cluster or lacks a tag that it needs."
    if not candidates:
        return "No node is in the cluster yet."
    if not able:
        return f"No node has {' and '.join(f'{key}={value}' for key, value in demand.tags)}."
    fit = [c for c in able if not c.unfit()]
    if not fit:
        return f"No node can take it: {'; '.join(f'{c.view.member.name} {c.unfit()}' for c in able)}."
    if not any(c.room for c in fit):
        return "Every node that could take it is busy."
    return "Waiting for the dispatcher."


def human(size: float) -> str:
    """Bytes for a sentence: 1.2 TB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("B", "kB") or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
