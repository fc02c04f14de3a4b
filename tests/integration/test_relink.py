"""A new link to the same file that leads to another name: what was fetched is gone on with, under the name that it has."""

import hashlib
import random
from pathlib import Path

import pytest

from tests.support import nodes
from tests.support.origin import serving
from tests.support.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BODY = random.Random(5).randbytes(12_000_000)
SPARE = 2 * 1024 * 1024
"""Bytes that may be fetched twice: what aria2 had not saved yet."""


async def test_a_link_to_another_name_goes_on_from_the_bytes(tmp_path: Path) -> None:
    async with serving() as origin, nodes.cluster(tmp_path, 1) as cluster:
        [node] = cluster.nodes
        old, new = origin.put("/old/disk.iso", BODY), origin.put("/new/6f1c2a", BODY)
        origin.throttle("/old/disk.iso", 600_000)
        _, task = await node.post("/tasks", {"url": old})

        async def half() -> bool:
            return bool((await node.get(f"/tasks/{task['id']}"))[1]["completed_bytes"] > 4_000_000)

        await until(half, "a third of it is there", timeout=30)
        status, told = await node.post(f"/tasks/{task['id']}/relink", {"url": new})
        assert status == 200, told
        [done] = await cluster.finished([task["id"]])
        assert (done["status"], done["error_message"]) == ("completed", None)
        assert hashlib.sha256(cluster.path(done).read_bytes()).digest() == hashlib.sha256(BODY).digest()
        assert cluster.path(done).name == "disk.iso"
        assert origin.served["/new/6f1c2a"] <= len(BODY) - 4_000_000 + SPARE, "the bytes that were there were kept"
        assert [path.name for path in node.downloads.iterdir() if not path.name.startswith(".")] == ["disk.iso"]
