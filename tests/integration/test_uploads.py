"""Documents that are uploaded, on whole nodes: kept by all, given to whichever node has the task, there again after a loss."""

import asyncio
import base64
from pathlib import Path

import pytest

from tests.support import nodes, torrent
from tests.support.origin import serving
from tests.support.processes import until

from .test_lists import files_in, make

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def test_uploads_are_downloaded_by_whichever_node_and_survive_a_kill(tmp_path: Path) -> None:
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
        metalink = f"<metalink xmlns='urn:ietf:params:xml:ns:metalink'>{entries}</metalink>".encode()
        uploaded = base64.b64encode(swarm.torrent.data).decode()

        status, first = await one.post("/tasks", {"torrent": uploaded, "dir": "torrent", "node": two.name})
        assert status == 201, first
        assert first["document"] == "torrent" and first["info_hash"] in swarm.torrent.magnet
        status, second = await two.post(
            "/tasks", {"metalink": base64.b64encode(metalink).decode(), "dir": "metalink", "node": one.name}
        )
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
