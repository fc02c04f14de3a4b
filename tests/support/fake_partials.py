"""The way of half-done downloads without a network: the services of two nodes call each other."""

import asyncio
from collections.abc import Callable

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster_node.services.handover import Handover


class FakePartials:
    """Fills `Partials` for all nodes of one test. `handovers` by door (`host:port`) is who answers there.

    A door in `shut` answers nobody. `damage`, if set, is what the way makes of a block; as the real one, a block that comes
    otherwise than it was sent is never handed out. `blocks` is every block that arrived, as task, path, offset and length.
    """

    def __init__(self) -> None:
        self.handovers: dict[str, Handover] = {}
        self.shut: set[str] = set()
        self.damage: Callable[[bytes], bytes] = lambda data: data
        self.blocks: list[tuple[str, str, int, int]] = []
        self.in_flight = 0
        self.most = 0
        """How many blocks were ever under way at once."""

    async def look(self, door: str, task_id: str, attempt: int) -> Partial:
        return await (await self._at(door)).look(task_id, attempt)

    async def read(self, door: str, task_id: str, attempt: int, file: PartialFile, offset: int, length: int) -> bytes:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            handover = await self._at(door)
            sent = await handover.read(task_id, attempt, file.path, offset, length)
            await asyncio.sleep(0)
        finally:
            self.in_flight -= 1
        if self.damage(sent) != sent:
            raise Unavailable(f"A block of {file.path} from {door} came damaged.")
        self.blocks.append((task_id, file.path, offset, length))
        return sent

    async def _at(self, door: str) -> Handover:
        await asyncio.sleep(0)
        if door in self.shut or door not in self.handovers:
            raise Unavailable(f"{door} does not answer.")
        return self.handovers[door]
