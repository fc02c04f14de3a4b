"""Probing: a task that was submitted here is measured, by asking its origin, before the dispatcher gives it away."""

import asyncio
from collections import deque

import structlog

from ariacluster.domain.commands import Measure
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.origins import links_of
from ariacluster.domain.task import TaskSpec, TaskState
from ariacluster_node.ports import Clock, Origins, Probe

from .replica import Replica
from .wakeup import Wakeup

log = structlog.get_logger()

PROBE_WAIT_MS = 300
"""For so long a task waits for its size: most origins answer sooner, and nobody notices it before a download."""

MAX_WAITING = 64
"""Tasks that are asked about at a time. Those of a flood beyond it are given away unmeasured: they must not wait in line."""

PROMISE_S = 1.0
"""For so long a place is kept for a task that is being submitted: longer than a commit takes."""

BREATH = 0.005
"""Seconds to gather what origins said: many answers travel in one log entry."""

IDLE = 60.0


class Probing:
    """Runs on every node, for the tasks that were submitted there. Nothing is lost with it: a task that is not measured in
    time is given away without."""

    def __init__(self, replica: Replica, origins: Origins, clock: Clock) -> None:
        self._replica = replica
        self._origins = origins
        self._clock = clock
        self._running = False
        self._line: asyncio.Queue[tuple[str, TaskSpec]] = asyncio.Queue()
        self._asked: set[tuple[str, int]] = set()
        self._said: dict[tuple[str, int], Measure] = {}
        self._promised: deque[float] = deque()
        self._unheard = False
        self._wake = Wakeup()

    def asking(self, spec: TaskSpec) -> int:
        """For how long (ms) a task is to wait for the answer of its origin; 0 if nobody is asked. A place is kept for it until
        `begin`, or for a second."""
        if not self._running or self._waiting() >= MAX_WAITING or not self._origins.asks(spec):
            return 0
        self._promised.append(self._clock.monotonic())
        return PROBE_WAIT_MS

    def begin(self, task_id: str, spec: TaskSpec) -> None:
        """Ask about a task that is in the table, and tell the cluster in the background. Under way already, known or gone:
        no-op."""
        if self._promised:
            self._promised.popleft()
        task = self._replica.table.tasks.get(task_id)
        asked = (task_id, links_of(spec))
        if not self._running or task is None or task.validator or asked in self._asked:
            return
        if self._waiting() >= MAX_WAITING:
            self._say(_measure(*asked))  # it waits for an answer: let it go
            return
        self._asked.add(asked)
        self._line.put_nowait((task_id, spec))

    async def run(self) -> None:
        """Until cancelled."""
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell())
                while True:  # `begin` bounds how many there are
                    task_id, spec = await self._line.get()
                    group.create_task(self._ask(task_id, spec))
        finally:
            self._running = False
            self._line = asyncio.Queue()
            self._asked.clear()
            self._said.clear()

    # -- inside -------------------------------------------------------------------------------------------------

    def _waiting(self) -> int:
        kept_since = self._clock.monotonic() - PROMISE_S
        while self._promised and self._promised[0] <= kept_since:
            self._promised.popleft()
        return len(self._asked) + len(self._said) + len(self._promised)

    async def _ask(self, task_id: str, spec: TaskSpec) -> None:
        links = links_of(spec)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(self._origins.probe(spec))
            done, _ = await asyncio.wait({asked}, timeout=PROBE_WAIT_MS / 1000)
            if not done:
                # Its time is up. Said aloud, because the leader's clock may be behind, and to wake the dispatcher.
                self._say(_measure(task_id, links))
            probe = await asked
        self._asked.discard((task_id, links))
        self._say(_measure(task_id, links, probe))  # late, too: room is reserved by it, and resuming needs it

    def _say(self, measure: Measure) -> None:
        self._said[measure.task, measure.links] = measure
        self._wake()

    async def _tell(self) -> None:
        while True:
            await self._wake.wait(IDLE, breath=BREATH)
            said, self._said = self._said, {}
            worth = [measure for measure in said.values() if self._tells(measure)]
            if not worth:
                continue
            try:
                await self._replica.propose(worth)
                self._unheard = False
            except AriaClusterError as error:
                if not self._unheard:
                    log.warning("what origins said is not written down", tasks=len(worth), reason=error.detail)
                self._unheard = True

    def _tells(self, measure: Measure) -> bool:
        """Does it say something of a task that is there, or free one that waits for it?"""
        task = self._replica.table.tasks.get(measure.task)
        if task is None or measure.links != links_of(task.spec):
            return False
        if task.bytes_on is not None and task.size and measure.size not in (0, task.size):
            return False  # who is to resume it must see that it changed, and throw away what it has
        waits = task.state is TaskState.PENDING and task.attempt == 0 and task.not_before > 0
        return waits or measure.size > 0 or measure.validator != ""


def _measure(task_id: str, links: int, probe: Probe | None = None) -> Measure:
    probe = probe or Probe()
    return Measure(task_id, probe.size, probe.validator, links)
