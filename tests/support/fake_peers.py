"""The way between nodes without a network: their services call each other, unless a test shuts a door."""

import asyncio
from collections.abc import Mapping
from typing import TypeVar

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.formation import Applicant, Heard, Membership
from ariacluster.wire.peers import Overview, ReportFrame
from ariacluster_node.services.cluster import Cluster
from ariacluster_node.services.reports import Reports

T = TypeVar("T")


class FakePeers:
    """Fills `Doors` and `Reporting` for all nodes of one test. Doors are `host:port` of an API.

    `clusters` and `reports` are who answers there; a door in `shut` answers nobody. `asked` is every call in order, as
    its name and the door; `frames` every report that arrived.
    """

    def __init__(self) -> None:
        self.clusters: dict[str, Cluster] = {}
        self.reports: dict[str, Reports] = {}
        self.shut: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.frames: list[ReportFrame] = []

    async def knock(self, door: str, applicant: Applicant) -> Membership:
        await self._reach("knock", door)
        return await self._at(door, self.clusters).welcome(applicant)

    async def meet(self, door: str, mine: Heard) -> list[Heard]:
        await self._reach("meet", door)
        return self._at(door, self.clusters).met(mine)

    async def report(self, leader: str, frame: ReportFrame) -> Overview | None:
        await self._reach("report", leader)
        overview = self._at(leader, self.reports).receive(frame)
        self.frames.append(frame)
        return overview

    async def _reach(self, call: str, door: str) -> None:
        self.asked.append((call, door))
        await asyncio.sleep(0)
        if door in self.shut:
            raise Unavailable(f"{door} does not answer.")

    @staticmethod
    def _at(door: str, who: Mapping[str, T]) -> T:
        if door not in who:
            raise Unavailable(f"Nobody is at {door}.")
        return who[door]
