"""What the worker wants to know of origins and of the disk, asked in the background: a slow one holds up its own task alone."""

import asyncio
from collections.abc import Callable, Collection
from enum import Enum
from typing import NamedTuple

from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.task import Task
from ariacluster_node.ports import Folders, Origins, Probe

TIMEOUT = 5.0
"""Seconds until a server that does not answer is left alone: the task goes on without."""

AT_A_TIME = 16
"""Questions that are under way at a time."""


class About(Enum):
    """What a question is for."""

    RESUME = "is it still the file of which a part is here?"
    SIZE = "how large is it?"
    PATIENCE = "when may one come again?"
    DISK = "does all of it lie on the disk?"


class Answer(NamedTuple):
    """`probe`: None if no origin could or needed to be asked."""

    probe: Probe | None


class Asking:
    """One question per task and purpose; its answer is kept until it is taken."""

    def __init__(self, origins: Origins, folders: Folders) -> None:
        self._origins = origins
        self._folders = folders
        self._group: asyncio.TaskGroup | None = None
        self._asked: dict[tuple[About, str, int], asyncio.Task[Answer]] = {}
        self._gate = asyncio.Semaphore(AT_A_TIME)
        self._on_answer: Callable[[], None] = lambda: None

    def attach(self, group: asyncio.TaskGroup, on_answer: Callable[[], None]) -> None:
        """Ask in `group` from now on, with nothing under way; call back when there is an answer."""
        self._asked = {}
        self._gate = asyncio.Semaphore(AT_A_TIME)
        self._group, self._on_answer = group, on_answer

    def take(self, about: About, task: Task) -> Answer | None:
        """The answer, once; None while it is under way: from the first call on."""
        key = (about, task.id, task.attempt)
        asked = self._asked.get(key)
        if asked is None:
            assert self._group is not None  # the worker runs
            asked = self._asked[key] = self._group.create_task(self._ask(about, task))
            asked.add_done_callback(lambda _: self._on_answer())
        if not asked.done():
            return None
        del self._asked[key]
        return asked.result()

    def under_way(self, about: About) -> list[tuple[str, int]]:
        """Tasks and attempts for which this was asked and not taken yet."""
        return [(task_id, attempt) for purpose, task_id, attempt in self._asked if purpose is about]

    def keep(self, wanted: Collection[tuple[str, int]]) -> None:
        """Forget the questions about all but these tasks and attempts."""
        for key in [key for key in self._asked if key[1:] not in wanted]:
            self._asked.pop(key).cancel()

    async def _ask(self, about: About, task: Task) -> Answer:
        try:
            if about is About.DISK:
                await self._folders.settle(task.id)
                return Answer(None)
            async with asyncio.timeout(TIMEOUT):
                if about is About.RESUME and await self._folders.partial(task.id) is None:
                    return Answer(None)  # nothing that could be spoiled
                async with self._gate:
                    return Answer(await self._origins.probe(task.spec))
        except (TimeoutError, AriaClusterError):
            return Answer(None)


def answered(probe: Probe | None) -> bool:
    """Did the origin say what it has?"""
    return probe is not None and 200 <= probe.status < 300


def changed(task: Task, probe: Probe | None) -> bool:
    """Does another file lie there than the one that the task has begun?"""
    if probe is None or not answered(probe):
        return False
    by_name = bool(probe.validator and task.validator and probe.validator != task.validator)
    return by_name or bool(probe.size and task.size and probe.size != task.size)
