"""A LAN in memory: what is announced on the air, every other one hears at once."""

import asyncio
from collections.abc import Callable

from ariacluster.domain.formation import Heard


class Air:
    """What the nodes of one test share. A muted node neither hears nor is heard."""

    def __init__(self) -> None:
        self.entries: dict[str, Heard] = {}
        self.muted: set[str] = set()

    def mute(self, node_id: str) -> None:
        self.muted.add(node_id)

    def unmute(self, node_id: str) -> None:
        self.muted.discard(node_id)

    def heard_by(self, node_id: str) -> list[Heard]:
        if node_id in self.muted:
            return []
        return [h for id, h in sorted(self.entries.items()) if id != node_id and id not in self.muted]


class FakeDiscovery:
    """Fills `Discovery`. `twins` are what a test says; `asked` counts the questions."""

    def __init__(self, air: Air) -> None:
        self.air = air
        self.twins: tuple[str, ...] = ()
        self.asked = 0
        self._mine: Heard | None = None

    async def start(self, mine: Heard) -> None:
        await self.update(mine)

    async def update(self, mine: Heard) -> None:
        self._mine = mine
        self.air.entries[mine.node_id] = mine

    def heard(self) -> list[Heard]:
        return self.air.heard_by(self._mine.node_id) if self._mine else []

    def ask(self) -> None:
        self.asked += 1

    async def stop(self) -> None:
        if self._mine:
            self.air.entries.pop(self._mine.node_id, None)
            self._mine = None


async def wait_until(condition: Callable[[], bool], timeout: float = 15.0) -> float:
    """Return once `condition` holds, with the seconds that took; `TimeoutError` after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        if loop.time() - began > timeout:
            raise TimeoutError("the condition did not come true in time")
        await asyncio.sleep(0.005)
    return loop.time() - began
