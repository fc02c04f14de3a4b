"""Half-done downloads on their way here: what another node has of a task is fetched before this node goes on with it."""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from ariacluster.domain.errors import AriaClusterError, NotFound, NotReady, Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster.domain.reconcile import Transfer
from ariacluster.domain.task import Task
from ariacluster_node.ports import Folders, Partials

from .replica import Replica

log = structlog.get_logger()

AT_A_TIME = 2
"""Transfers at a time: one alone does not always fill a link, more only make all of them late."""

IN_FLIGHT = 3
"""Blocks of one transfer that are asked for at a time, so that the link is busy while the disk writes."""

FIRST_BLOCK = 1024 * 1024
LEAST_BLOCK = 256 * 1024
LARGEST_BLOCK = 8 * 1024 * 1024
"""Bytes: with those in flight, a node holds some 50 MB of them at most."""

BLOCK_S = 2.0
"""Seconds that a block should take: over a slow uplink it must be here long before `PATIENCE` ends."""

ASK_AGAIN = 0.5
"""Seconds until the other node is asked again."""

LET_GO = 60.0
"""Seconds in which the other node must have stopped its engine's download."""

PATIENCE = 30.0
"""Seconds without any progress after which the bytes are given up: the download begins anew."""

SPEED_OVER = 3.0
"""Seconds over which the speed is told."""


class Transfers:
    """Runs what it is told to in the task group that it is given (`attach`). `states` is for the plan and for people."""

    def __init__(self, replica: Replica, folders: Folders, partials: Partials) -> None:
        self._replica = replica
        self._folders = folders
        self._partials = partials
        self._group: asyncio.TaskGroup | None = None
        self._carriers: dict[str, _Carrier] = {}
        self._gate = asyncio.Semaphore(AT_A_TIME)
        self._on_end: Callable[[], None] = lambda: None

    def attach(self, group: asyncio.TaskGroup, on_end: Callable[[], None]) -> None:
        """Work in `group` from now on, with nothing under way; call back when a transfer has ended."""
        self._carriers = {}
        self._gate = asyncio.Semaphore(AT_A_TIME)
        self._group, self._on_end = group, on_end

    def states(self) -> dict[str, Transfer]:
        """Every transfer by task id, until it is dropped."""
        return {task_id: carrier.state() for task_id, carrier in self._carriers.items()}

    def begin(self, task: Task) -> None:
        """Fetch what the task's holder has of it."""
        assert self._group is not None  # the worker runs
        carrier = _Carrier(task, self._replica, self._folders, self._partials)
        self._carriers[task.id] = carrier
        carrier.work = self._group.create_task(self._carry(carrier))

    async def drop(self, task_id: str) -> None:
        """Forget a transfer; one that is under way has stopped writing when this returns."""
        if (carrier := self._carriers.pop(task_id, None)) is not None and carrier.work is not None:
            carrier.work.cancel()
            await asyncio.wait({carrier.work})

    async def _carry(self, carrier: "_Carrier") -> None:
        try:
            async with self._gate:
                await carrier.carry()
        finally:
            self._on_end()


class _Carrier:
    """One transfer."""

    def __init__(self, task: Task, replica: Replica, folders: Folders, partials: Partials) -> None:
        self.work: asyncio.Task[None] | None = None
        self._task = task
        self._replica = replica
        self._folders = folders
        self._partials = partials
        self._total = 0
        self._completed = 0
        self._ended = False
        self._came: deque[tuple[float, int]] = deque()
        self._clock = asyncio.get_running_loop().time

    def state(self) -> Transfer:
        return Transfer(
            attempt=self._task.attempt,
            ended=self._ended,
            total=self._total,
            completed=self._completed,
            speed=0 if self._ended else self._speed(),
        )

    async def carry(self) -> None:
        """Return once all is here, or nothing is."""
        task = self._task
        try:
            await self._bring()
        except AriaClusterError as error:
            log.warning("bytes given up", task=task.id, holder=task.holder, reason=error.detail)
            self._total = self._completed = 0
            await self._empty()
        else:
            log.info("bytes fetched", task=task.id, holder=task.holder, bytes=self._completed)
        self._ended = True

    async def _empty(self) -> None:
        """What came half is worse than nothing: keep at it until it is gone."""
        while True:
            try:
                await self._folders.open(self._task.id, fresh=True)
            except AriaClusterError as error:
                log.warning("half a transfer stays", task=self._task.id, reason=error.detail)
                await asyncio.sleep(ASK_AGAIN)
            else:
                return

    async def _bring(self) -> None:
        """Any error of ours if it cannot be brought."""
        partial = await self._look()
        self._total = partial.length
        await self._folders.receive(self._task.id, partial)
        blocks = _Blocks(partial)
        try:
            async with asyncio.timeout(PATIENCE) as patience, asyncio.TaskGroup() as group:
                for _ in range(IN_FLIGHT):
                    group.create_task(self._pull(blocks, patience))
        except TimeoutError:
            raise Unavailable(f"Nothing came from the other node for {PATIENCE:.0f} s.") from None
        except ExceptionGroup as errors:
            raise _first(errors) from None
        await self._folders.received(self._task.id, partial)

    async def _look(self) -> Partial:
        """What is there to be fetched. The other node may need a moment to see that the task moved, and to stop."""
        begun = heard = self._clock()
        while True:
            try:
                return await self._partials.look(self._door(), self._task.id, self._task.attempt)
            except NotReady as error:
                heard, reason = self._clock(), error.detail
                if heard - begun > LET_GO:
                    raise
            except Unavailable as error:
                if self._clock() - heard > PATIENCE:
                    raise
                reason = error.detail
            log.debug("asking again for bytes", task=self._task.id, reason=reason)
            await asyncio.sleep(ASK_AGAIN)

    def _door(self) -> str:
        """Where the other node answers now: it may have moved."""
        member = self._replica.table.members.get(self._task.holder or "")
        if member is None or member.missed_since:
            raise NotFound("The node that has the bytes is not there any more.")
        return member.door

    async def _pull(self, blocks: "_Blocks", patience: asyncio.Timeout) -> None:
        length = FIRST_BLOCK
        while block := blocks.take(length):
            asked = self._clock()
            data = await self._read(*block)
            took = max(self._clock() - asked, 0.001)
            await self._folders.write(self._task.id, block[0], block[1], data)
            self._note(len(data))
            patience.reschedule(self._clock() + PATIENCE)
            length = max(LEAST_BLOCK, min(LARGEST_BLOCK, int(len(data) / took * BLOCK_S)))

    async def _read(self, file: PartialFile, offset: int, length: int) -> bytes:
        while True:
            try:
                return await self._partials.read(self._door(), self._task.id, self._task.attempt, file, offset, length)
            except Unavailable as error:
                log.debug("asking again for a block", task=self._task.id, reason=error.detail)
            await asyncio.sleep(ASK_AGAIN)

    def _note(self, length: int) -> None:
        self._completed += length
        self._came.append((self._clock(), length))

    def _speed(self) -> int:
        since = self._clock() - SPEED_OVER
        while self._came and self._came[0][0] < since:
            self._came.popleft()
        return int(sum(length for _, length in self._came) / SPEED_OVER)


class _Blocks:
    """What is still to be asked for, in order: aria2's control files come last."""

    def __init__(self, partial: Partial) -> None:
        self._left = deque(
            (file, offset, length) for file in partial.files for offset, length in file.segments if length
        )

    def take(self, at_most: int) -> tuple[PartialFile, int, int] | None:
        """The next block; None if there is none."""
        if not self._left:
            return None
        file, offset, length = self._left.popleft()
        if length > at_most:
            self._left.appendleft((file, offset + at_most, length - at_most))
        return file, offset, min(length, at_most)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of ours, else the group."""
    for error in errors.exceptions:
        found = _first(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, AriaClusterError):
            return found
    return errors
