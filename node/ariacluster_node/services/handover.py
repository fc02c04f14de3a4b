"""Half-done downloads of this node that another one is to go on with: what is there, and the bytes, block by block."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import structlog

from ariacluster.domain.errors import InvalidInput, NotFound, NotReady
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster_node.ports import Folders

from .replica import Replica

log = structlog.get_logger()

MAX_BLOCK = 16 * 1024 * 1024
"""Bytes of one block."""

READERS = 4
"""Blocks that are in memory at a time, read or on their way: 64 MB at most."""

REMEMBERED = 16
"""Tasks whose files are remembered between two blocks."""


class Handover:
    """Answers the nodes that fetch. `writes` tells whether the engine of this node has, or may have, a task's download."""

    def __init__(self, replica: Replica, folders: Folders, writes: Callable[[str], bool]) -> None:
        self._replica = replica
        self._folders = folders
        self._writes = writes
        self._known: OrderedDict[tuple[str, int], dict[str, PartialFile]] = OrderedDict()
        self.readers = asyncio.Semaphore(READERS)
        """To be held while a block is in memory."""

    async def look(self, task_id: str, attempt: int) -> Partial:
        """See the port `Partials`."""
        self._check(task_id, attempt)
        partial = await self._folders.partial(task_id)
        self._check(task_id, attempt)  # it may have changed meanwhile
        if partial is None or not all(_speakable(file.path) for file in partial.files):
            raise NotFound(f"Nothing of task {task_id} that could be resumed is here.")
        self._known[task_id, attempt] = {file.path: file for file in partial.files}
        self._known.move_to_end((task_id, attempt))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        log.info("half a download is told", task=task_id, attempt=attempt, bytes=partial.length)
        return partial

    async def read(self, task_id: str, attempt: int, path: str, offset: int, length: int) -> bytes:
        """A block of one of the files that `look` names. `InvalidInput` if it is too large or lies outside of the file."""
        self._check(task_id, attempt)
        if (task_id, attempt) not in self._known:
            await self.look(task_id, attempt)
        file = self._known[task_id, attempt].get(path)
        if file is None:
            raise NotFound(f"Task {task_id} has no such file here.")
        if offset < 0 or not 0 < length <= MAX_BLOCK or offset + length > file.size:
            raise InvalidInput(f"A block is 1 to {MAX_BLOCK} bytes of the {file.size} of the file.", field="length")
        data = await self._folders.read(task_id, file, offset, length)
        self._check(task_id, attempt)  # else somebody may have written while it was read
        return data

    def _check(self, task_id: str, attempt: int) -> None:
        """Is it that attempt of another node that goes on with what is here, and does nothing write to it?"""
        row = self._replica.table.tasks.get(task_id)
        if row is None and task_id in self._replica.table.removed:
            raise NotFound(f"Task {task_id} was removed.")
        if row is None or row.attempt < attempt:
            raise NotReady("This node has not heard of that attempt yet; ask again.")
        if row.attempt != attempt or row.holder != self._replica.node_id:
            raise NotFound(f"Attempt {attempt} of task {task_id} has nothing to fetch here.")
        if self._writes(task_id):
            raise NotReady("The engine of this node has not let go of it yet; ask again.")


def _speakable(path: str) -> bool:
    """Can the name be said in UTF-8? A file system takes any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
