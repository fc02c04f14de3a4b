"""The way between nodes without a network: their services call each other, unless a test shuts a door."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from ariacluster.domain.errors import AriaClusterError, Forbidden, PayloadTooLarge, Unavailable
from ariacluster.domain.formation import Applicant, Heard, Membership
from ariacluster.wire.peers import (
    MAX_REPORT,
    OverviewFrame,
    ReportFrame,
    decode_overview,
    decode_report,
    encode,
)
from ariacluster.wire.resources import LiveResource
from ariacluster_node.services.cluster import Cluster
from ariacluster_node.services.relaying import Relaying
from ariacluster_node.services.reports import Line, Reports

T = TypeVar("T")


class FakePeers:
    """Fills `Doors`, `Reporting` and `Relay` for all nodes of one test. Doors are `host:port` of an API.

    `clusters`, `reports` and `relaying` are who answers there; a door in `shut` answers nobody, and `cut` ends its streams.
    Who has another `key` than a door is refused there. `asked` is every call in order, as its name and the door; `frames` every
    report that arrived.
    """

    def __init__(self) -> None:
        self.clusters: dict[str, Cluster] = {}
        self.reports: dict[str, Reports] = {}
        self.relaying: dict[str, Relaying] = {}
        self.shut: set[str] = set()
        self.key: bytes | None = None
        self.asked: list[tuple[str, str]] = []
        self.frames: list[ReportFrame] = []
        self._streams: set[FakeStream] = set()

    async def knock(self, door: str, applicant: Applicant) -> Membership:
        await self._reach("knock", door)
        return await self._at(door, self.clusters).welcome(applicant)

    async def meet(self, door: str, mine: Heard) -> list[Heard]:
        await self._reach("meet", door)
        return self._at(door, self.clusters).met(mine)

    @asynccontextmanager
    async def stream(self, leader: str) -> AsyncIterator["FakeStream"]:
        await self._reach("report", leader)
        membership = self._at(leader, self.clusters).membership
        if self.key is not None and membership is not None and self.key.hex() != membership.key:
            raise Forbidden("That is not this cluster's key.")
        with self._at(leader, self.reports).listen() as line:
            stream = FakeStream(self, leader, line)
            self._streams.add(stream)
            try:
                yield stream
            finally:
                self._streams.discard(stream)
                stream.end(Unavailable("It was closed."))

    async def live(self, door: str, task_id: str) -> LiveResource:
        await self._reach("live", door)
        return await self._at(door, self.relaying).live(task_id, relayed=True)

    async def transfer(self, door: str, node: str) -> None:
        await self._reach("transfer", door)
        await self._at(door, self.relaying).transfer(node, relayed=True)

    def cut(self, door: str) -> None:
        """Every stream to that door is lost."""
        for stream in self._streams:
            if stream.door == door:
                stream.end(Unavailable(f"The connection to {door} is lost."))

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


class FakeStream:
    """Fills `ReportStream`: as bytes, over nothing."""

    def __init__(self, peers: FakePeers, door: str, line: Line) -> None:
        self.door = door
        self._peers = peers
        self._line = line
        self._ended: asyncio.Future[AriaClusterError] = asyncio.get_running_loop().create_future()

    def end(self, why: AriaClusterError) -> None:
        if not self._ended.done():
            self._ended.set_result(why)

    async def send(self, frame: ReportFrame) -> None:
        await asyncio.sleep(0)
        data = encode(frame)
        if len(data) > MAX_REPORT:
            raise PayloadTooLarge(f"A report may have {MAX_REPORT} bytes.")
        if self.door in self._peers.shut:
            self.end(Unavailable(f"{self.door} does not answer."))
        if self._ended.done():
            raise Unavailable(self._ended.result().detail)
        try:
            self._line.hear(decode_report(data))
        except AriaClusterError as error:  # the sender hears of it when it listens
            self.end(error)
        else:
            self._peers.frames.append(frame)

    async def receive(self) -> OverviewFrame:
        next_frame = asyncio.ensure_future(self._line.next())
        try:
            either: set[asyncio.Future[Any]] = {next_frame, self._ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                raise self._ended.result()
            return decode_overview(encode(next_frame.result()))
        finally:
            next_frame.cancel()
