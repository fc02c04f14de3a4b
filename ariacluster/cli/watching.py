"""Following tasks until each has come to an end, over whatever the node and the leader go through meanwhile."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from ariacluster.client.client import NodeClient
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.task import FINAL, TaskState
from ariacluster.wire.resources import TaskResource

INTERVAL = 0.5
"""Seconds between two looks at the tasks."""

BEAT = 0.25
"""Seconds between two drawings: what moves must look alive while an answer is awaited."""

ANSWER_TIME = 2.0
"""Seconds that one look may take before the person is told that the node is awaited."""

PATIENCE = 300.0
"""Seconds without any answer after which there is nothing to follow any more: a script must end some day."""

MISSES = 4
"""Looks in which a task is missing before it counts as gone: a node that has just come back may lag a moment behind."""

ENDS = frozenset(state.value for state in FINAL)
RUNNING = tuple(state.value for state in TaskState if state not in FINAL and state is not TaskState.PAUSED)


class View(Protocol):
    """Shows what is being followed."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def changed(self, task: TaskResource) -> None:
        """Its state, its node or its attempt is another than before; each task once when it is first seen."""

    def gone(self, task: TaskResource) -> None:
        """Somebody took it off the list."""

    def draw(self, watch: "Watch", trouble: str) -> None:
        """Several times a second. `trouble` says why nothing is heard, empty while all is well."""


class Watch:
    """The tasks being followed: by their ids, or, without any, whatever runs or waits until nothing does.

    A paused task is waited for if it was named, and left alone if it was not: it may stay paused for ever.
    """

    def __init__(self, client: NodeClient, tasks: Iterable[TaskResource] = (), *, everything: bool = False) -> None:
        self._client = client
        self._everything = everything
        self._known: dict[str, tuple[object, ...]] = {}
        self._missed: dict[str, int] = {}
        self._first = list(tasks)
        self.tasks: dict[str, TaskResource] = {task.id: task for task in self._first}
        """As last seen, in the order in which they were first."""
        self.gone: set[str] = set()

    @property
    def unfinished(self) -> list[TaskResource]:
        return [task for task in self.tasks.values() if not self._settled(task)]

    @property
    def failed(self) -> bool:
        """Has any of them ended other than well?"""
        bad = (TaskState.FAILED, TaskState.CANCELED)
        return bool(self.gone) or any(task.status in bad for task in self.tasks.values())

    async def look(self) -> tuple[list[TaskResource], list[TaskResource]]:
        """Ask once: the tasks that changed, and those that are gone."""
        if self._first:
            seen, self._first = self._first, []
            return self._changes(seen), []
        wanted = {task.id for task in self.unfinished}
        seen = []
        if self._everything:
            seen = [task async for task in self._client.each_task(states=RUNNING)]
            wanted -= {task.id for task in seen}
        found = await self._client.tasks_by_id(wanted) if wanted else {}
        seen.extend(found.values())
        lost = []
        for task_id in wanted - found.keys():
            self._missed[task_id] = self._missed.get(task_id, 0) + 1
            if self._missed[task_id] >= MISSES:
                lost.append(self.tasks[task_id])
                self.gone.add(task_id)
        for task in seen:
            self.tasks[task.id] = task
            self._missed.pop(task.id, None)
            self.gone.discard(task.id)
        return self._changes(seen), lost

    def _settled(self, task: TaskResource) -> bool:
        if task.status in ENDS or task.id in self.gone:
            return True
        return self._everything and task.status == TaskState.PAUSED

    def _changes(self, seen: list[TaskResource]) -> list[TaskResource]:
        changed = []
        for task in seen:
            now = (task.status, task.worker_id, task.attempt)
            if self._known.get(task.id) != now:
                self._known[task.id] = now
                changed.append(task)
        return changed


async def follow(client: NodeClient, watch: Watch, view: View) -> None:
    """Until nothing is unfinished. Raises what the node last said if it has been out of reach for `PATIENCE`, or if it
    never answered; any other error of ours at once."""
    client.deadline = ANSWER_TIME
    heard = time.monotonic()
    trouble = ""
    with view:
        while True:
            began = time.monotonic()
            look = asyncio.create_task(watch.look())
            try:
                while not look.done():
                    view.draw(watch, trouble)
                    await asyncio.wait({look}, timeout=BEAT)
                changed, lost = look.result()
            except AriaClusterError as error:
                # 5xx: nobody's mistake on this side, and it may pass.
                if error.status < 500 or not watch.tasks or time.monotonic() - heard > PATIENCE:
                    raise
                trouble = error.detail
            else:
                heard, trouble = time.monotonic(), ""
                view.draw(watch, trouble)
                for task in changed:
                    view.changed(task)
                for task in lost:
                    view.gone(task)
                if not watch.unfinished:
                    return
            finally:
                look.cancel()
                with suppress(asyncio.CancelledError, AriaClusterError):
                    await look
            # A list of many thousands takes a while; the node is not asked all the time.
            await _pause(
                max(INTERVAL, 2 * (time.monotonic() - began) if not trouble else INTERVAL), watch, view, trouble
            )


async def _pause(seconds: float, watch: Watch, view: View, trouble: str) -> None:
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        await asyncio.sleep(min(left, BEAT))
        view.draw(watch, trouble)
