"""Whole nodes as processes on loopback, and a cluster of them: what a user starts, driven through the API as a user would."""

import asyncio
import io
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from ariacluster.domain import voters
from tests.support import ports, processes

PROGRAM = Path(sys.executable).with_name("ariacluster-node")
SECOND = 1.0


class Node:
    """One node with its own data and download folder; may be started again after its end."""

    def __init__(self, name: str, work: Path, cluster: str) -> None:
        self.name = name
        self.port = ports.free_ports(2)
        self.data = work / name / "data"
        self.downloads = work / name / "downloads"
        self.cluster = cluster
        self.ui_port = 0
        """Where its web app shall answer; 0: it has none, which is the quicker start."""
        self.program: Sequence[str] = (str(PROGRAM),)
        self._work = work
        self._process: processes.Process | None = None

    @property
    def process(self) -> processes.Process:
        assert self._process is not None, f"{self.name} was never started"
        return self._process

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self, *arguments: str) -> list[str]:
        return [
            *self.program, "--name", self.name, "--cluster", self.cluster, "--bind", "127.0.0.1", "--port", str(self.port),
            "--data", str(self.data), "--dir", str(self.downloads), "--node-timeout", "4", "--no-dht",
            *(["--ui-port", str(self.ui_port)] if self.ui_port else ["--no-ui"]), *arguments,
        ]  # fmt: skip

    async def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        """Returns when the process runs; `ready` waits until it works."""
        self._process = await processes.start(self.command(*arguments), self._work / "logs", name=self.name, env=env)

    async def ready(self, *, timeout: float = 20 * SECOND) -> None:
        async def answers() -> bool:
            try:
                return (await self.get("/readyz"))[0] == 200
            except aiohttp.ClientError:
                return False

        await self.process.wait_until(answers, f"{self.name} is ready", timeout=timeout)

    async def kill(self) -> None:
        """kill -9 of the node alone; what it started has to end by itself."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        return await self.process.stop(grace=10 * SECOND)

    async def aria2c(self) -> psutil.Process:
        """The engine's process."""
        [engine] = [p for p in await self.process.family() if p.pid != self.process.pid and "aria2c" in p.name()]
        return engine

    async def get(self, path: str) -> tuple[int, Any]:
        return await self.call("GET", path)

    async def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        return await self.call("POST", path, body, headers)

    async def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and JSON of one request on a connection of its own; no retries."""
        kind = {"data": io.BytesIO(body)} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method, f"http://{self.address}{path}", headers=headers, timeout=aiohttp.ClientTimeout(15), **kind
            ) as response,
        ):
            return response.status, await response.json(content_type=None)


class Cluster:
    """Some nodes of one cluster, and the questions that tests ask of it."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def living(self) -> list[Node]:
        return [node for node in self.nodes if node.process.running]

    async def leader(self, *, timeout: float = 10 * SECOND) -> Node:
        """The node that a majority of the living call their leader."""

        async def agreed() -> list[Node]:
            said: list[str | None] = []
            for node in self.living():
                status, body = await node.get("/status")
                leader = body["cluster"]["leader"] if status == 200 else None
                said.append(leader["name"] if leader else None)
            return [node for node in self.living() if said.count(node.name) * 2 > len(self.nodes)]

        [leader] = await processes.until(agreed, "a majority agrees on a leader", timeout=timeout)
        return leader

    async def whole(self, *, timeout: float = 30 * SECOND) -> None:
        """Every node is ready, every one sees all of them online, and as many of them vote as shall."""

        async def seen() -> bool:
            for node in self.living():
                status, body = await node.get("/nodes")
                if status != 200 or sum(n["status"] != "offline" for n in body) != len(self.living()):
                    return False
                status, body = await node.get("/status")
                if status != 200 or body["cluster"]["voters"] != voters.target(body["cluster"]["members"]):
                    return False
            return True

        for node in self.living():
            await node.ready(timeout=timeout)
        await processes.until(seen, "every node sees every node, and enough of them vote", timeout=timeout)

    async def tasks(self, ids: list[str], *, by: Node | None = None) -> list[dict[str, Any]]:
        node = by or self.living()[0]
        status, body = await node.get(f"/tasks?limit=1000&ids={','.join(ids)}")
        assert status == 200, body
        return list(body)

    async def finished(self, ids: list[str], *, timeout: float = 90 * SECOND) -> list[dict[str, Any]]:
        """The tasks once each of them is completed, failed or canceled."""

        async def all_final() -> list[dict[str, Any]]:
            tasks = await self.tasks(ids)  # a node may be a moment behind the one that took a task in
            final = [task for task in tasks if task["status"] in ("completed", "failed", "canceled")]
            return tasks if len(final) == len(ids) else []

        try:
            return await processes.until(all_final, f"{len(ids)} tasks end", timeout=timeout)
        except TimeoutError as error:
            tasks = await self.tasks(ids)
            left = [t for t in tasks if t["status"] not in ("completed", "failed", "canceled")]
            gone = set(ids) - {task["id"] for task in tasks}
            said = [(t["name"], t["status"], t["reason"]) for t in left]
            raise AssertionError(f"{error}; left: {said}; not in the table: {gone}") from None

    def node(self, name: str) -> Node:
        [node] = [node for node in self.nodes if node.name == name]
        return node

    def path(self, task: dict[str, Any], file: int = 0) -> Path:
        """Where a file of a completed task lies."""
        return Path(self.node(task["worker_name"]).downloads, task["files"][file]["path"])


@asynccontextmanager
async def cluster(
    work: Path,
    count: int = 3,
    *,
    mdns: bool = False,
    slots: int = 5,
    programs: Sequence[Sequence[str] | None] = (),
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Cluster]:
    """`count` nodes that have found each other: by multicast on loopback, or told the first one's address. `programs`: what
    the first ones run instead of this version's program. `env` is added to the environment of all."""
    name = f"test-{secrets.token_hex(4)}"
    nodes = [Node(f"node{number}", work, name) for number in range(1, count + 1)]
    for node, program in zip(nodes, programs, strict=False):
        node.program = program or node.program
    try:
        for node in nodes:
            told = [] if mdns else ["--no-mdns", *(["--join", nodes[0].address] if node is not nodes[0] else [])]
            await node.start("--slots", str(slots), *told, env=env)
        made = Cluster(nodes)
        await made.whole()
        yield made
    finally:
        await asyncio.gather(*(node.stop() for node in nodes if node._process is not None))
