"""Documents that are uploaded, on whole nodes: kept by all, given to whichever node has the task, there again after a loss."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ariacluster.domain.document import MAX_DOCUMENT
from tests.support import nodes, torrent
from tests.support.origin import serving
from tests.support.processes import until

from .test_lists import files_in, make

PIECE = 1 << 18

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def test_only_the_selected_files_of_a_torrent_count(tmp_path: Path) -> None:
    """From the submit on, and anew when others are wanted; while it runs, the pieces that hold them."""
    made = await asyncio.to_thread(make, tmp_path / "content")
    some = {name: made[name] for name in ("a.bin", "b.bin")}
    async with (
        nodes.cluster(tmp_path / "nodes", 2) as cluster,
        torrent.swarm(tmp_path / "content", tmp_path / "swarm") as swarm,
    ):
        one, two = cluster.nodes
        uploaded = base64.b64encode(swarm.torrent.data).decode()
        task: dict[str, Any] = {"torrent": uploaded, "paused": True, "node": two.name, "dir": "some"}
        for wanted, sentence in (("2-4", "from 1 to 3"), ("3-1", "as in 1,3-5")):
            status, problem = await one.post("/tasks", {**task, "options": {"select-file": wanted}})
            assert (status, problem["field"]) == (400, "options.select-file"), problem
            assert sentence in problem["detail"]
        status, first = await one.post("/tasks", {**task, "options": {"select-file": "2"}})
        assert (status, first["total_bytes"]) == (201, len(made["b.bin"]))
        path = f"/tasks/{first['id']}"

        status, changed = await two.call("PATCH", path, {"options": {"select-file": "1-2"}})
        assert (status, changed["total_bytes"]) == (200, sum(map(len, some.values())))
        status, problem = await two.call("PATCH", path, {"options": {"select-file": "4"}})
        assert status == 400, problem
        assert (await one.get(path))[1]["total_bytes"] == changed["total_bytes"]

        await two.call("PATCH", path, {"options": {"select-file": "1", "max-download-limit": "100K"}})
        await one.post(f"{path}/resume")

        async def begun() -> bool:
            _, task = await one.get(path)
            assert task["status"] != "completed", "it is slow enough to be changed on its way"
            return bool(task["completed_bytes"])

        await until(begun, "it is on its way", timeout=30)
        assert (await one.get(path))[1]["total_bytes"] == 3 * PIECE
        await two.call("PATCH", path, {"options": {"select-file": "1-2", "max-download-limit": None}})
        [done] = await cluster.finished([first["id"]])
        assert done["status"] == "completed", done["failures"]
        assert done["total_bytes"] == changed["total_bytes"]
        assert await asyncio.to_thread(files_in, two.downloads / "some") == some


async def submit(node: nodes.Node, /, **task: str) -> tuple[int, Any]:
    return await node.post("/tasks", msgspec.json.encode(task), **{"Content-Type": "application/json"})


async def test_uploads_are_downloaded_by_whichever_node_and_survive_a_kill(tmp_path: Path) -> None:
    """The largest that are taken: aria2 has bounds of its own."""
    made = await asyncio.to_thread(make, tmp_path / "content")
    async with (
        nodes.cluster(tmp_path / "nodes", 2) as cluster,
        torrent.swarm(tmp_path / "content", tmp_path / "swarm") as swarm,
        serving() as origin,
    ):
        one, two = cluster.nodes
        entries = "".join(
            f"<file name='{n}.bin'><hash type='sha-256'>{origin.sha256(f'/bytes/400000/{n}')}</hash>"
            f"<url>{origin.url(f'/bytes/400000/{n}')}</url></file>"
            for n in "ab"
        )
        metalink = f"<metalink xmlns='urn:ietf:params:xml:ns:metalink'>{entries}</metalink>".encode().ljust(
            MAX_DOCUMENT
        )
        uploaded = base64.b64encode(torrent.padded(swarm.torrent.data, MAX_DOCUMENT)).decode()

        status, first = await submit(one, torrent=uploaded, dir="torrent", node=two.name)
        assert status == 201, first
        assert first["document"] == "torrent" and first["info_hash"] in swarm.torrent.magnet
        status, second = await submit(two, metalink=base64.b64encode(metalink).decode(), dir="metalink", node=one.name)
        assert status == 201, second
        status, problem = await two.post("/tasks", {"url": swarm.torrent.magnet})
        assert (status, problem["code"], problem["task"]) == (409, "duplicate", first["id"])
        done = await cluster.finished([first["id"], second["id"]])
        assert [task["status"] for task in done] == ["completed", "completed"], [task["failures"] for task in done]
        assert await asyncio.to_thread(files_in, two.downloads / "torrent") == made
        whole = {f"{n}.bin": origin.body(f"/bytes/400000/{n}") for n in "ab"}
        assert await asyncio.to_thread(files_in, one.downloads / "metalink") == whole

        kept = [{path.name for path in (node.data / "documents").iterdir()} for node in cluster.nodes]
        assert len(kept[0]) == 2 and kept[0] == kept[1]
        await two.kill()
        for path in (two.data / "documents").iterdir():
            path.unlink()  # as if its disk had lost them
        await two.start()
        await two.ready()

        async def there_again() -> bool:
            return {path.name for path in (two.data / "documents").iterdir()} == kept[0]

        await until(there_again, "it fetched what rows refer to", timeout=60)
