"""Many small files on one node, against one aria2c that is given them as a list: what the table, the log and the folders cost.

All tasks are taken in beforehand, with a time at which they may begin; the clock starts then.
"""

import asyncio
import re
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from ariacluster_node.adapters.aria2.locate import locate
from tests.support import nginx, nodes, processes

from .lines import Line
from .rounds import completed, listed, medians

SIZE = 100_000
AIM = 0.9


async def measure(files: int, rounds: int, progress: Callable[[str], None]) -> list[Line]:
    """Seconds for `files` files of 100 kB: the medians of so many rounds, for a shared machine is twice as fast at times."""
    best, ours = await medians(rounds, lambda which: _round(files, which, progress))
    part, ratio = f"(b) {files} files of 100 kB, one node", best / ours
    return [Line(part=part, what="against aria2c -i list", ours=ours, best=best, unit="s", ratio=ratio, aim=f"≥ {AIM}")]


async def _round(files: int, which: str, progress: Callable[[str], None]) -> tuple[float, float]:
    """Seconds of aria2c alone, and of the node."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = Path(folder)
        served = work / "served"
        served.mkdir()
        for number in range(files):
            (served / f"f{number:05}").write_bytes(bytes([number % 251]) * SIZE)
        async with nginx.origin(served, work / "nginx") as origin:
            urls = [origin.url(f"f{number:05}") for number in range(files)]
            progress(f"aria2c -i list, {which}")
            best = await _listed(work, urls)
            progress(f"one node, {which}")
            return best, await _node(work, urls)


async def _listed(work: Path, urls: list[str]) -> float:
    command = listed((await locate()).path, work / "listed", urls)
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0
    return time.perf_counter() - begun


async def _node(work: Path, urls: list[str]) -> float:
    async with (
        nodes.cluster(work, 1) as cluster,
        aiohttp.ClientSession(f"http://{cluster.nodes[0].address}") as session,
    ):
        begin = time.time() + 2 + len(urls) / 200
        moment = datetime.fromtimestamp(begin, UTC).isoformat()
        queue = list(urls)

        async def submit() -> None:
            while queue:
                async with session.post("/tasks", json={"url": queue.pop(), "not_before": moment}) as answer:
                    assert answer.status == 201, await answer.text()

        await asyncio.gather(*(submit() for _ in range(16)))
        early = begin - time.time()
        assert early > 0, "the tasks were not taken in in time"
        await asyncio.sleep(early)
        taken = await _last_completed(session, len(urls)) - begin
        found = [path for path in cluster.nodes[0].downloads.iterdir() if re.fullmatch(r"f\d{5}", path.name)]
        assert len(found) == len(urls)
        assert all(path.stat().st_size == SIZE for path in found)
        return taken


async def _last_completed(session: aiohttp.ClientSession, wanted: int) -> float:
    """When the last of them was completed, as the node has it (s since the epoch). It is asked seldom: who asks takes of the
    machine what is measured."""

    async def seldom() -> bool:
        await asyncio.sleep(0.5)
        return await completed(session, wanted)

    await processes.until(seldom, "all are completed", timeout=600)
    async with session.get("/tasks", params={"sort": "-updated", "limit": 1}) as answer:
        [last] = await answer.json()
    return datetime.fromisoformat(last["updated_at"]).timestamp()
