"""What this node counts of itself since it began, for whoever watches over it."""

import asyncio
from bisect import bisect_left
from collections import Counter

from ariacluster.domain.table import Applied
from ariacluster.domain.task import TaskState

from .replica import Replica

LOOK_EVERY = 0.5
"""Seconds between two looks at how late the event loop is: short enough to see what holds it up for longer than a moment."""

COMMIT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the buckets (s)."""


class Buckets:
    """How often something took how long (s)."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def take(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Measures:
    """`commits`: from a proposal of this node until it was applied here. `lag`: by how much the event loop was late."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.commits = Buckets(COMMIT_BOUNDS)
        self.lag = Buckets(LAG_BOUNDS)
        self.elections = 0
        """How often another node, or this one, was seen to lead."""
        self.failures: Counter[str] = Counter()
        """Attempts that failed, by whose fault it was."""
        self.finished: Counter[str] = Counter()
        """Tasks that came to an end, by their state."""
        self.finished_bytes = 0
        self._led: tuple[str | None, int] = (None, 0)
        replica.watch(self._on_applied)
        replica.on_commit(self.commits.take)

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(LOOK_EVERY)
            self.lag.take(max(0.0, loop.time() - before - LOOK_EVERY))
            self._look()

    def _look(self) -> None:
        status = self._replica.status
        if status is not None and status.leader is not None and self._led != (status.leader, status.term):
            self._led = (status.leader, status.term)
            self.elections += 1

    def _on_applied(self, applied: Applied | None) -> None:
        for before, after in applied.changes if applied else ():
            if before is None or after is None:
                continue
            if after.failures and (not before.failures or after.failures[-1] is not before.failures[-1]):
                self.failures[after.failures[-1].kind.value] += 1
            if before.state is not after.state:
                if after.state in (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED):
                    self.finished[after.state.value] += 1
                if after.state is TaskState.COMPLETED and after.result is not None:
                    self.finished_bytes += after.result.total_bytes
