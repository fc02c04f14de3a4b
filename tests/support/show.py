"""The web app over a lively cluster, in two processes, with the last five minutes already told: for a look at it, for its
pictures and for the tests in a browser.

`python -m tests.support.show --nodes 8 --tasks 5000 --port 18080`, then open http://localhost:18080.
"""

import argparse
import asyncio
import math
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from tests.support import ports, processes


class Show(NamedTuple):
    """Where the web app and the cluster behind it answer, and their processes."""

    url: str
    node: str
    app: processes.Process
    cluster: processes.Process


@asynccontextmanager
async def show(work: Path, *, nodes: int = 8, tasks: int = 2000, lost: int = 0, port: int = 0) -> AsyncIterator[Show]:
    """Both run while the body does."""
    node_port = ports.free_port()
    told = ["--nodes", str(nodes), "--tasks", str(tasks), "--lost", str(lost), "--port", str(node_port)]
    cluster = await processes.start([sys.executable, "-m", "tests.support.lively", *told], work, name="cluster")
    try:
        await cluster.wait_for_text("http://", timeout=30)
        node = f"http://127.0.0.1:{node_port}"
        async with webapp(work, node, port=port) as (url, app):
            yield Show(url, node, app, cluster)
    finally:
        await cluster.stop()


@asynccontextmanager
async def webapp(work: Path, *nodes: str, port: int = 0) -> AsyncIterator[tuple[str, processes.Process]]:
    """The web app alone over the first of these nodes that answers; returns when it knows the cluster."""
    port = port or ports.free_port()
    url = f"http://127.0.0.1:{port}"
    app = await processes.start(
        [sys.executable, "-m", "tests.support.show", "--app", *nodes, "--port", str(port), "--storage", str(work)],
        work,
        name="app",
    )
    try:

        async def knows() -> bool:
            try:
                async with aiohttp.ClientSession() as session, session.get(f"{url}/ui/boot") as response:
                    return b'"members":{"' in await response.read()
            except aiohttp.ClientError:
                return False

        await app.wait_until(knows, "the web app knows the cluster", timeout=30)
        yield url, app
    finally:
        await app.stop()


def _app(urls: tuple[str, ...], port: int, storage: Path) -> None:
    """The web app, as `ariacluster-ui` starts it, but for the past that its store is given."""
    from ariacluster_ui import live, main, options

    class Told(live.Store):
        async def hear(self, frame: object) -> None:
            await super().hear(frame)  # type: ignore[arg-type]
            if self.nodes and self.status is not None and not self.series.length:
                self._tell_the_past()

        def _tell_the_past(self) -> None:
            dice = random.Random(3)
            assert self.status is not None
            dice = random.Random(3)
            waves = {node: (dice.uniform(9, 40), dice.uniform(0, 7), dice.uniform(0.1, 0.4)) for node in self.nodes}
            span = self.series.span
            for second in range(span):
                speeds = {
                    node.id: int(node.download_speed * _wave(second, *waves[node.id]) * dice.uniform(0.94, 1.06))
                    for node in self.nodes.values()
                }
                speeds[live.TOTAL_DOWN] = sum(speeds.values())
                speeds[live.TOTAL_UP] = int(
                    self.status.upload_speed * _wave(second, 31, 1, 0.2) * dice.uniform(0.98, 1.02)
                )
                self.series.take(time.time() - span + second, speeds)

    live.Store = Told  # type: ignore[misc]
    main.run(options.Options(urls=urls, host="127.0.0.1", port=port, storage=storage))


def _wave(second: float, length: float, shift: float, height: float) -> float:
    return 1 + height * math.sin(second / length + shift)


async def _both(nodes: int, tasks: int, lost: int, port: int) -> None:
    with tempfile.TemporaryDirectory() as work:
        async with show(Path(work), nodes=nodes, tasks=tasks, lost=lost, port=port) as shown:
            print(f"{shown.url} over {shown.node}", flush=True)  # noqa: T201
            await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--lost", type=int, default=1)
    parser.add_argument("--port", type=int, default=18080)
    parser.add_argument("--app", nargs="*", default=[])
    parser.add_argument("--storage", default="")
    said = parser.parse_args()
    if said.app:
        _app(tuple(said.app), said.port, Path(said.storage))
    else:
        asyncio.run(_both(said.nodes, said.tasks, said.lost, said.port))
