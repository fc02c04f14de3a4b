"""`scripts/bench api`: three whole nodes on loopback, asked as clients ask them. docs/benchmarks.md tells what is measured."""

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
from rich.console import Console

from ariacluster.client.stream import EventStream
from ariacluster.wire.events import Hello, History
from tests.bench.dispatch.lines import Line, Report, quantile, show
from tests.support import nodes
from tests.support.nodes import Cluster, Node

PARTS = ("empty", "submit", "events", "batch", "full", "list", "bulk", "restart")
IN_FLIGHT = 32
PART_OF_A_BATCH = 10_000
Note = Callable[[str], None]

_fresh = itertools.count(1_000_000, 100_000)
"""Where the numbers of the next tasks begin: one that is there already would be refused."""


def task(number: int) -> dict[str, Any]:
    """Taken in, and nothing more: nobody is asked about it, and nobody fetches it."""
    kind = ("iso", "zip", "bin")[number % 3]
    return {"url": f"ftp://192.0.2.1/pub/release-{number % 97}/file-{number:07}.{kind}", "paused": True}


def ms(seconds: float) -> float:
    return 1000 * seconds


def latency(part: str, what: str, taken: list[float], aims: dict[float, str]) -> list[Line]:
    return [
        Line(part=part, what=f"{what}, p{share * 100:.0f}", ours=ms(quantile(taken, share)), unit="ms", aim=aim)
        for share, aim in aims.items()
    ]


@asynccontextmanager
async def asking() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=2 * IN_FLIGHT)
    async with aiohttp.ClientSession(
        connector=connector, json_serialize=lambda v: msgspec.json.encode(v).decode()
    ) as s:
        yield s


async def post(session: aiohttp.ClientSession, node: Node, path: str, body: Any) -> bytes:
    async with session.post(f"http://{node.address}{path}", json=body) as answer:
        told = await answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {told[:200]!r}")
        return told


async def get(session: aiohttp.ClientSession, node: Node, path: str) -> bytes:
    async with session.get(f"http://{node.address}{path}") as answer:
        told = await answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {told[:200]!r}")
        return told


async def submits(
    cluster: Cluster, session: aiohttp.ClientSession, count: int, in_flight: int
) -> tuple[list[float], float]:
    """One task a request, over all nodes in turn: what each took, and how many a second that were."""
    taken: list[float] = []
    numbers = iter(range(count))
    first = next(_fresh)

    async def one_after_the_other() -> None:
        for number in numbers:
            begun = time.perf_counter()
            await post(session, cluster.nodes[number % len(cluster.nodes)], "/tasks", task(first + number))
            taken.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(one_after_the_other())
    return taken, count / (time.perf_counter() - begun)


async def events(cluster: Cluster, session: aiohttp.ClientSession, count: int) -> list[float]:
    """From the answer to a submit at one node until another one's subscriber has it; 0 if it was there before."""
    leader = await cluster.leader()
    other = next(node for node in cluster.nodes if node is not leader)
    arrived: dict[str, float] = {}
    ready = asyncio.Event()

    async def listen() -> None:
        async with EventStream([f"http://{other.address}"], topics=["history"]) as stream:
            async for frame in stream:
                if isinstance(frame, Hello):
                    ready.set()
                elif isinstance(frame, History) and frame.entry.task:
                    arrived.setdefault(frame.entry.task, time.perf_counter())
                    if len(arrived) == count:
                        return

    answered: dict[str, float] = {}
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(listen())
        await ready.wait()
        for number in range(count):
            told = msgspec.json.decode(await post(session, leader, "/tasks", task(2_000_000 + number)))
            answered[told["id"]] = time.perf_counter()
            await asyncio.sleep(0.01)
    return [max(0.0, arrived[task_id] - at) for task_id, at in answered.items()]


async def batches(cluster: Cluster, session: aiohttp.ClientSession, count: int) -> float:
    """Tasks a second, one batch after the other."""
    leader = await cluster.leader()
    took = 0.0
    for start in range(0, count, PART_OF_A_BATCH):
        body = {"tasks": [task(number) for number in range(start, min(start + PART_OF_A_BATCH, count))]}
        begun = time.perf_counter()
        told = msgspec.json.decode(await post(session, leader, "/tasks/batch", body))
        took += time.perf_counter() - begun
        if told["refused"]:
            raise RuntimeError(f"{told['refused']} of a batch were refused: {told['results'][0]}")
    return count / took


async def bulk(cluster: Cluster, session: aiohttp.ClientSession) -> dict[str, float]:
    """Seconds until all have been told to go on, and to pause again."""
    leader = await cluster.leader()
    took = {}
    for verb, state in (("resume", "paused"), ("pause", "pending")):
        begun = time.perf_counter()
        await post(session, leader, "/tasks/bulk", {"verb": verb, "matching": {"state": [state]}})
        took[f"{verb}, said to all"] = time.perf_counter() - begun
    return took


QUESTIONS = {
    "the first page": "/tasks?limit=100",
    "the newest": "/tasks?sort=-created&limit=100",
    "in the middle": "/tasks?offset=50000&limit=100",
    "a state": "/tasks?state=paused&offset=5000&limit=100",
    "a search": "/tasks?q=file-00{:03}&limit=100",
    "by name": "/tasks?sort=name&offset={}000&limit=100",
    "by size, backwards": "/tasks?sort=-size&limit=100",
}


async def pages(cluster: Cluster, session: aiohttp.ClientSession, count: int) -> dict[str, list[float]]:
    node = cluster.nodes[-1]
    taken: dict[str, list[float]] = {}
    for name, path in QUESTIONS.items():
        await get(session, node, path.format(1))  # the first one makes what all further ones use
        times = taken[name] = []
        for number in range(count):
            begun = time.perf_counter()
            await get(session, node, path.format(number % 100))
            times.append(time.perf_counter() - begun)
    return taken


async def at_rest(cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Memory (MB) and CPU (percent of a core) of the busiest node that does nothing."""
    processes = [psutil.Process(node.process.pid) for node in cluster.nodes]
    before = [sum(process.cpu_times()[:2]) for process in processes]
    await asyncio.sleep(seconds)
    cpu = max(sum(process.cpu_times()[:2]) - b for process, b in zip(processes, before, strict=True))
    return max(process.memory_info().rss for process in processes) / 1e6, 100 * cpu / seconds


async def restart(cluster: Cluster) -> float:
    """Seconds from the start of a node that was stopped until it is ready."""
    leader = await cluster.leader()
    node = next(node for node in cluster.nodes if node is not leader)
    await node.stop()
    begun = time.perf_counter()
    await node.start("--slots", "5", "--no-mdns")
    while node.process.running:
        try:
            if (await node.get("/readyz"))[0] == 200:
                return time.perf_counter() - begun
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.02)
    raise RuntimeError(await node.process.text())


async def measure(asked: tuple[str, ...], quick: bool, report: Report, note: Note) -> None:
    rows = 20_000 if quick else 100_000
    with tempfile.TemporaryDirectory(prefix="ariacluster-bench-") as work:
        async with nodes.cluster(Path(work), 3) as cluster, asking() as session:
            for part in PARTS:
                if part not in asked and part != "batch":
                    continue
                note(part)
                try:
                    report.lines += await one(part, cluster, session, rows, quick)
                except Exception as error:  # the other parts are worth something without it
                    report.problems.append(f"{part}: {type(error).__name__}: {error}")


async def one(part: str, cluster: Cluster, session: aiohttp.ClientSession, rows: int, quick: bool) -> list[Line]:
    match part:
        case "empty":
            await asyncio.sleep(3)
            memory, cpu = await at_rest(cluster, 5 if quick else 20)
            return [
                Line(part=part, what="memory of a node without tasks", ours=memory, unit="MB", aim="≤ 120 MB"),
                Line(part=part, what="CPU of a core while nothing happens", ours=cpu, unit="%", aim="≤ 2 %"),
            ]
        case "submit":
            await submits(cluster, session, 200, IN_FLIGHT)
            alone, _ = await submits(cluster, session, 200 if quick else 1_000, 1)
            taken, rate = await submits(cluster, session, 500 if quick else 5_000, IN_FLIGHT)
            return [
                *latency(part, "one at a time", alone, {0.5: "≤ 10 ms", 0.99: ""}),
                *latency(part, f"{IN_FLIGHT} in flight", taken, {0.5: "", 0.99: ""}),
                Line(part=part, what=f"{IN_FLIGHT} in flight", ours=rate, unit="/s", aim="≥ 1,500 /s"),
            ]
        case "events":
            taken = await events(cluster, session, 100 if quick else 1_000)
            return latency(part, "commit to subscriber on another node", taken, {0.5: "", 0.99: "≤ 50 ms"})
        case "batch":
            rate = await batches(cluster, session, rows)
            return [Line(part=part, what=f"{rows:,} tasks", ours=rate, unit="tasks/s", aim="≥ 20,000 /s")]
        case "list":
            lines = [
                line
                for name, taken in (await pages(cluster, session, 30 if quick else 200)).items()
                for line in latency(part, name, taken, {0.5: "", 0.99: "≤ 25 ms"})
            ]
            memory, _ = await at_rest(cluster, 0.1)
            return [*lines, Line(part=part, what="memory of the node that was asked", ours=memory, unit="MB")]
        case "bulk":
            return [
                Line(part=part, what=what, ours=took, unit="s") for what, took in (await bulk(cluster, session)).items()
            ]
        case "full":
            memory, cpu = await at_rest(cluster, 5 if quick else 20)
            return [
                Line(part=part, what=f"memory of a node with {rows:,} tasks", ours=memory, unit="MB", aim="≤ 250 MB"),
                Line(part=part, what="CPU of a core while nothing happens", ours=cpu, unit="%", aim="≤ 2 %"),
            ]
    return [Line(part=part, what=f"with {rows:,} tasks", ours=await restart(cluster), unit="s", aim="≤ 5 s")]


async def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench api", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the tasks, numbers only to look at")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be repeated")
    parser.add_argument("-o", dest="format", choices=("table", "json"), default="table", help="what to write")
    asked = parser.parse_args()
    note = Console(stderr=True)
    report = Report(size="quick" if asked.quick else "full", cores=os.cpu_count() or 0, load=os.getloadavg()[0])
    begun = time.perf_counter()
    await measure(
        tuple(asked.only or PARTS),
        asked.quick,
        report,
        lambda what: note.print(f"{what} …", style="dim", highlight=False),
    )
    report.seconds = time.perf_counter() - begun
    if asked.format == "json":
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        show(report, Console(width=150), title="The API")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
