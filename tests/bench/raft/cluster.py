"""The driver's side: node processes, and clusters of them. Whatever happens, none of them outlives `Cluster`."""

import asyncio
import itertools
import os
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from .pipe import Answer, Question

ROOT = Path(__file__).parents[3]

PORTS = range(20_000, 30_000)
"""Below those that systems give to outgoing connections: a killed node finds its port free."""

SETTLE_S = 30.0
PAUSE_S = 0.02


class System(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured. `options` are the keywords of a node's `open`."""

    name: str
    module: str
    options: dict[str, Any]


OURS = System(name="ours", module="tests.bench.raft.ours", options={"synced": True})
UNSYNCED = System(name="ours, no sync", module="tests.bench.raft.ours", options={"synced": False})
STOCK = System(name="stock", module="tests.bench.raft.stock", options={"best": False})
BEST = System(name="stock at its best", module="tests.bench.raft.stock", options={"best": True})
SYSTEMS = (OURS, UNSYNCED, STOCK, BEST)


class NodeError(Exception):
    """The node answered with an error, or is gone, or does not answer."""


class Node:
    """One process, in which one node runs once it was opened."""

    def __init__(self, system: System, name: str, port: int, folder: Path) -> None:
        self.system = system
        self.name = name
        self.port = port
        self.folder = folder
        self.address = f"127.0.0.1:{port}"
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Answer]] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    async def spawn(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", self.system.module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": ""},
            )
        self._reading = asyncio.create_task(self._read())

    async def ask(self, what: str, within: float | None = None, **args: Any) -> Any:
        """Raises `NodeError`, after `within` seconds (`SETTLE_S`) at the latest."""
        within = within or SETTLE_S
        assert self._process.stdin is not None
        if self._reading.done():
            raise NodeError(f"{self.name} is gone: {self.last_words()}")
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(msgspec.json.encode(Question(number, what, args)) + b"\n")
        try:
            async with asyncio.timeout(within):
                answer = await future
        except TimeoutError:
            raise NodeError(f"{self.name} did not answer {what} in {within:.0f} s. {self.last_words()}") from None
        finally:
            self._asked.pop(number, None)
        if answer.error:
            raise NodeError(f"{self.name} answered {what}: {answer.error}")
        return answer.value

    async def grants_vote(self, node: str) -> bool:
        """Ours, the leader: `node` is a voter from now on; False if that has to be asked again."""
        with suppress(NodeError):
            await self.ask("add_voter", node=node)
            return True
        return False

    async def kill(self) -> None:
        """kill -9. Idempotent."""
        if not hasattr(self, "_process"):
            return
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading
        if self._process.stdin is not None:
            self._process.stdin.close()

    def last_words(self) -> str:
        """The end of what it wrote to its log."""
        return (self.folder / "log").read_text("utf-8", "replace").strip()[-600:]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        decoder = msgspec.json.Decoder(Answer)
        while line := await self._process.stdout.readline():
            answer = decoder.decode(line)
            future = self._asked.get(answer.number)
            if future is not None and not future.done():
                future.set_result(answer)
        for future in self._asked.values():
            if not future.done():
                future.set_result(Answer(0, error=f"gone. {self.last_words()}"))


class Cluster:
    """Voters and learners of one system, each in its process."""

    def __init__(self, system: System, folder: Path, compact_entries: int) -> None:
        self.system = system
        self.nodes: dict[str, Node] = {}
        self.voters: list[str] = []
        self._folder = folder
        self._compact_entries = compact_entries
        self._ports = _free_ports()

    async def add_learner(self, *, watched: bool) -> Node:
        """One more node that does not vote, opened."""
        node = self._make(vote=False)
        await node.spawn()
        await self.open(node, watched=watched)
        return node

    async def begin(self, voters: int, learners: int) -> None:
        """All of it, up to a leader that everybody knows."""
        made = [self._make(vote=number < voters) for number in range(voters + learners)]
        async with asyncio.TaskGroup() as group:
            for node in made:
                group.create_task(node.spawn())
        # One after the other, in the order of their ports: stock nodes dial those before them, and only each 5 s.
        for node in made:
            await self.open(node, first=node is made[0])
        if self.system.module == OURS.module:
            leader = await self.leader(among=made[:1])
            for node in made[1:voters]:
                await _until(partial(leader.grants_vote, node.name), f"{node.name} is a voter")
        await self.whole()

    async def open(self, node: Node, *, first: bool = False, watched: bool = False) -> None:
        """Let a spawned node begin."""
        addresses = {name: self.nodes[name].address for name in self.voters}
        folder = str(node.folder / "data")
        if self.system.module == OURS.module:
            compact = self._compact_entries if first else 10**9
            more: dict[str, Any] = {"found": first, "compact_entries": compact, "watched": watched, "port": node.port}
        else:
            more = {"me": node.address if node.name in self.voters else None}
        await node.ask("open", name=node.name, addresses=addresses, folder=folder, **self.system.options, **more)

    async def restart(self, node: Node, *, wiped: bool = False) -> None:
        """After `kill`: the same node again."""
        if wiped:
            for file in (node.folder / "data").iterdir():
                file.unlink()
        await node.spawn()
        await self.open(node)

    async def leader(self, among: list[Node] | None = None) -> Node:
        """The node that leads, when all of `among` (the voters) say the same."""
        asked = among or [self.nodes[name] for name in self.voters]
        found: set[str | None] = set()

        async def agreed() -> bool:
            statuses = [await node.ask("status") for node in asked]
            found.clear()
            found.update(status["leader"] for status in statuses)
            return len(found) == 1 and None not in found and all(status["ready"] for status in statuses)

        await _until(agreed, "all nodes see one leader")
        return self.nodes[str(found.pop())]

    async def whole(self) -> None:
        """All are there, ready, and lack nothing of the log."""

        async def is_whole() -> bool:
            leader = await self.leader()
            followers = (await leader.ask("status"))["followers"]
            if any(followers.get(name, 1) != 0 for name in self.voters if name != leader.name):
                return False
            others = [node for node in self.nodes.values() if node.name not in self.voters]
            return all([(await node.ask("status"))["ready"] for node in others])

        await _until(is_whole, "the cluster is whole")

    async def end(self) -> None:
        for node in self.nodes.values():
            await node.kill()

    def _make(self, *, vote: bool) -> Node:
        name = f"n{len(self.nodes) + 1:02d}"
        node = self.nodes[name] = Node(self.system, name, next(self._ports), self._folder / name)
        if vote:
            self.voters.append(name)
        return node


@asynccontextmanager
async def cluster(
    system: System, folder: Path, voters: int, learners: int = 0, compact_entries: int = 20_000
) -> AsyncIterator[Cluster]:
    """A cluster that is whole, and gone without a trace of processes when this is left."""
    made = Cluster(system, folder, compact_entries)
    try:
        await made.begin(voters, learners)
        yield made
    finally:
        await asyncio.shield(made.end())


async def _until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + SETTLE_S
    while not await holds():
        if time.monotonic() > deadline:
            raise NodeError(f"not within {SETTLE_S:.0f} s: {what}")
        await asyncio.sleep(PAUSE_S)


def _free_ports() -> Iterator[int]:
    for port in range(random.choice(PORTS[:-1000]), PORTS.stop):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
