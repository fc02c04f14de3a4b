"""Hundreds of small files on one node that is killed again and again, and its aria2c too.

`SMALL_FILES_SEED=…` throws the dice of an earlier run again; the processes' own haste is not repeated by that.
"""

import asyncio
import functools
import os
import random
from pathlib import Path
from signal import SIGKILL
from typing import Any

import aiohttp
import pytest
import structlog

from tests.support import nginx, nodes
from tests.support.nodes import Node
from tests.support.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

log = structlog.get_logger()

FILES = 600
SPOILED = (7, 107)
"""What their tasks are told to expect never comes."""
DIRS = ("", "media", "media/new")
SEED = int(os.environ.get("SMALL_FILES_SEED") or random.SystemRandom().randrange(2**32))


def content(number: int) -> bytes:
    dice = random.Random(number)
    return b"%06d" % number + dice.randbytes(dice.randrange(20_000, 100_000))


async def test_killed_again_and_again(tmp_path: Path) -> None:
    """Every file is there once with its bytes, every task completed once, and nothing else is left. Two that cannot be had fail
    alone."""
    log.info("the dice of this run", SMALL_FILES_SEED=SEED)
    dice = random.Random(SEED)
    served = tmp_path / "served"
    served.mkdir()
    for number in range(FILES):
        (served / f"{number}").write_bytes(content(number))
    async with nginx.origin(served, tmp_path / "nginx") as origin, nodes.cluster(tmp_path, 1) as cluster:
        [node] = cluster.nodes
        tasks = [
            # Of each name there are two, mostly in the same round.
            {"url": origin.url(f"{number}"), "dir": DIRS[number % 3], "out": f"{number // 6}.bin", "force": True}
            for number in range(FILES)
        ]
        for number in SPOILED:
            tasks[number]["checksum"] = "sha-256=" + "0" * 64
        status, answer = await node.post("/tasks/batch", {"tasks": tasks})
        assert status == 200
        assert answer["accepted"] == FILES, answer
        numbers = {result["id"]: number for number, result in enumerate(answer["results"])}
        ends = dice.sample((kill_node, kill_all, kill_engine, kill_engine), 4)
        for number, end in enumerate(ends):
            mark = 120 * number + dice.randrange(60)
            await until(functools.partial(counted, node, "completed", mark), f"{mark} are completed", timeout=60)
            await asyncio.sleep(dice.uniform(0, 0.2))
            await end(node)
        whole = FILES - len(SPOILED)
        await until(lambda: counted(node, "completed", whole), "all are completed", timeout=60)
        await until(lambda: counted(node, "failed", len(SPOILED)), "the spoiled ones have failed", timeout=30)
        _, found = await node.get("/tasks?limit=1000")
        lie = {}
        for task in found:
            number = numbers[task["id"]]
            if number in SPOILED:
                assert task["status"] == "failed", task
                continue
            assert (task["status"], task["failures"]) == ("completed", []), task
            [file] = task["files"]
            assert Path(file["path"]).parent == Path(DIRS[number % 3])
            lie[node.downloads / file["path"]] = content(number)
        assert len(lie) == whole
        await until(lambda: not os.listdir(node.downloads / ".ariacluster"), "nothing is staged", timeout=10)
        there = {path: path.read_bytes() for path in node.downloads.rglob("*") if path.is_file()}
        assert there == lie
        assert sum([entry["count"] for entry in await history(node, "task_completed")]) == whole


async def kill_node(node: Node) -> None:
    """Its aria2c writes on for a moment."""
    await node.kill()
    await node.start("--no-mdns")


async def kill_all(node: Node) -> None:
    await node.process.signal_family(SIGKILL)
    await node.process.wait()
    await node.start("--no-mdns")


async def kill_engine(node: Node) -> None:
    (await node.aria2c()).kill()


async def counted(node: Node, state: str, wanted: int) -> bool:
    try:
        _, body = await node.get("/status")
    except aiohttp.ClientError:
        return False
    return bool(body["tasks_by_status"].get(state, 0) >= wanted)


async def history(node: Node, kind: str) -> list[dict[str, Any]]:
    status, entries = await node.get(f"/history?kind={kind}&limit=1000")
    assert status == 200
    return list(entries)
