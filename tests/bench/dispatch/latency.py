"""From the submit at any of three nodes to the first byte that aria2 asks the origin for."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

from tests.support import nodes
from tests.support.origin import Origin

from .lines import Line, quantile

AIMS = {0.5: 50.0, 0.99: 250.0}
"""Milliseconds, by quantile."""


class _Watched(Origin):
    """Notes when each path was first asked for by GET."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, asyncio.Future[float]] = {}

    def expect(self, path: str) -> "asyncio.Future[float]":
        self.asked[path] = asyncio.get_running_loop().create_future()
        return self.asked[path]

    def note(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        super().note(method, path, headers)
        future = self.asked.get(path)
        if method == "GET" and future is not None and not future.done():
            future.set_result(time.perf_counter())


async def measure(samples: int, progress: Callable[[str], None]) -> list[Line]:
    """`samples` tasks of 1 kB, one after the other."""
    origin = _Watched()
    await origin.open()
    took = []
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            async with nodes.cluster(Path(folder), 3) as cluster, aiohttp.ClientSession() as session:
                progress(f"{samples} tasks, one after the other")
                for number in range(samples):
                    path = f"/bytes/1000/latency{number}"
                    first = origin.expect(path)
                    node = cluster.nodes[number % len(cluster.nodes)]
                    begun = time.perf_counter()
                    async with session.post(f"http://{node.address}/tasks", json={"url": origin.url(path)}) as answer:
                        assert answer.status == 201, await answer.text()
                    took.append((await asyncio.wait_for(first, 10) - begun) * 1000)
                    await asyncio.sleep(0.05)
    finally:
        await origin.shut()
    part = "(c) submit → aria2 asks, 3 nodes"
    return [
        Line(part=part, what=f"p{100 * share:.0f}", ours=quantile(took, share), unit="ms", aim=f"{aim:.0f} ms")
        for share, aim in AIMS.items()
    ]
