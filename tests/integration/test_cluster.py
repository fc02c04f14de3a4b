"""Three whole nodes share real downloads: from nginx, FTP and BitTorrent; killed, restarted, cut short."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support import ftp, nginx, nodes, torrent, tree
from tests.support.nodes import Cluster, Node
from tests.support.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

MB = 1_000_000


async def submit(to: Node, url: str, **fields: Any) -> str:
    status, task = await to.post("/tasks", {"url": url, "force": True, **fields})
    assert status == 201, task
    return str(task["id"])


async def check_hash(cluster: Cluster, task: dict[str, Any], digest: str) -> None:
    assert task["status"] == "completed", (task["name"], task["reason"], task["failures"])
    assert await asyncio.to_thread(tree.sha256, cluster.path(task)) == digest, task["name"]


def published(cluster: Cluster) -> list[str]:
    """Every file in a download folder of any node, staging folders included."""
    return [
        str(path.relative_to(node.downloads))
        for node in cluster.nodes
        for path in node.downloads.rglob("*")
        if path.is_file()
    ]


async def test_sixty_downloads_over_three_nodes(tmp_path: Path) -> None:
    """60 tasks submitted to different nodes, of every kind: all whole, each hash right, every node did its share."""
    content = await tree.cached_tree(58)
    small = content.near(3 * MB)
    async with (
        nodes.cluster(tmp_path / "nodes", mdns=True) as cluster,
        nginx.origin(content.folder, tmp_path / "nginx") as web,
        ftp.origin(content.folder, tmp_path / "ftp") as archive,
        torrent.swarm(content.path(small), tmp_path / "swarm") as swarm,
    ):
        expected: dict[str, str] = {}
        for number, file in enumerate(content.files):
            url = (
                web.url(file.name, "noranges")
                if number % 5 == 3
                else archive.url(file.name)
                if number % 5 == 4
                else web.url(file.name)
            )
            node = cluster.nodes[number % 3]
            expected[await submit(node, url, out=f"{number}-{file.name}", dir="mixed/deep")] = file.sha256
        expected[await submit(cluster.nodes[1], swarm.url, dir="by-url")] = small.sha256
        magnet = await submit(cluster.nodes[2], swarm.torrent.magnet, dir="by-magnet")
        # The same torrent twice on one engine is refused by aria2; the retry goes on until the first is done.
        expected[magnet] = small.sha256

        tasks = await cluster.finished(list(expected))
        for task in tasks:
            await check_hash(cluster, task, expected[task["id"]])
        done_by = Counter(task["worker_name"] for task in tasks)
        assert set(done_by) == {"node1", "node2", "node3"}, done_by
        assert min(done_by.values()) >= 5, done_by
        assert len(published(cluster)) == len(expected), "nothing is left in staging, nothing is there twice"
        totals = [(await node.get("/status"))[1]["tasks_by_status"] for node in cluster.nodes]
        assert all(total == totals[0] for total in totals), "every node tells the same"


async def test_leader_killed_while_downloads_run(tmp_path: Path) -> None:
    """kill -9 of the leader: the rest is dispatched by a new one, running downloads elsewhere go on untouched, the dead
    node's are finished by others, and it comes back to work."""
    content = await tree.cached_tree(30, total=60 * MB, largest=8 * MB, seed=2)
    async with (
        nodes.cluster(tmp_path / "nodes") as cluster,
        nginx.origin(content.folder, tmp_path / "nginx") as web,
    ):
        leader = await cluster.leader()
        others = [node for node in cluster.nodes if node is not leader]
        expected = {
            await submit(cluster.nodes[number % 3], web.url(file.name, "slow", rate=150_000)): file.sha256
            for number, file in enumerate(content.files)
        }

        async def everyone_downloads() -> bool:
            at_work = Counter(t["worker_name"] for t in await cluster.tasks(list(expected)) if t["progress"] > 0)
            return len(at_work) == 3

        await until(everyone_downloads, "every node downloads", timeout=20)
        engines = {node.name: (await node.aria2c()).pid for node in others}
        leaders_engine = await leader.aria2c()
        on_others = {
            t["id"]: t["attempt"]
            for t in await cluster.tasks(list(expected))
            if t["status"] == "downloading" and t["worker_name"] != leader.name
        }
        assert on_others

        await leader.kill()
        assert await cluster.leader() in others
        extra = content.near(1 * MB)
        expected[await submit(others[0], web.url(extra.name), out="extra.bin")] = extra.sha256
        await until(lambda: not leaders_engine.is_running(), "no aria2c outlives its node", timeout=10)

        tasks = await cluster.finished(list(expected))
        for task in tasks:
            await check_hash(cluster, task, expected[task["id"]])
            assert task["worker_name"] != leader.name or not task["failures"], "it is whole there since before the kill"
        for task in tasks:
            if task["id"] in on_others:
                assert task["attempt"] == on_others[task["id"]], "a running download was taken from a living node"
        assert {node.name: (await node.aria2c()).pid for node in others} == engines, "no engine was restarted"
        assert any(f["kind"] == "lost" for t in tasks for f in t["failures"]), "nothing was running on the leader"

        await leader.start("--no-mdns")
        await cluster.whole()
        back = await submit(leader, web.url(extra.name), out="after.bin", node=leader.name)
        [task] = await cluster.finished([back])
        await check_hash(cluster, task, extra.sha256)
        assert task["worker_name"] == leader.name
        await until(lambda: not list((leader.downloads / ".ariacluster").glob("*")), "no junk is left", timeout=10)


async def test_all_restarted_at_once(tmp_path: Path) -> None:
    """kill -9 of all three: the table is as it was, and what was half done goes on from its bytes."""
    work = tmp_path / "content"
    files = [await asyncio.to_thread(tree.write_file, work / f"large-{n}.bin", 24 * MB) for n in range(3)]
    async with nodes.cluster(tmp_path / "nodes") as cluster, nginx.origin(work, tmp_path / "nginx") as web:
        expected = {
            await submit(cluster.nodes[0], web.url(file.name, "slow", rate=400_000), options={"split": 4}): file.sha256
            for file in files
        }
        gone = await submit(cluster.nodes[1], "http://127.0.0.1:9/never.bin", max_attempts=1)
        await cluster.finished([gone])

        async def half_done() -> bool:
            return all(30 < t["progress"] < 80 for t in await cluster.tasks(list(expected)))

        await until(half_done, "each is half done", timeout=60)
        before = {t["id"]: t for t in await cluster.tasks([*expected, gone])}
        for node in cluster.nodes:
            node.process.kill()
        for node in cluster.nodes:
            await node.process.wait()
        for node in cluster.nodes:
            await node.start("--no-mdns")
        await cluster.whole()

        after = {t["id"]: t for t in await cluster.tasks([*expected, gone])}
        assert after.keys() == before.keys()
        assert after[gone]["status"] == "failed"
        tasks = await cluster.finished(list(expected))
        for task in tasks:
            await check_hash(cluster, task, expected[task["id"]])
            assert task["worker_id"] == before[task["id"]]["worker_id"], "a half-done download left its bytes"
        for file in files:
            sent = await web.bytes_sent(f"/slow/{file.name}")
            # Cut connections count what was in flight, and aria2 saves its control file once a second.
            assert file.size <= sent <= file.size + 6 * MB, f"{file.name}: {sent} bytes for {file.size}"


async def test_engine_killed(tmp_path: Path) -> None:
    """aria2c dies: it is restarted, and its downloads go on in the same attempt."""
    content = tmp_path / "content"
    file = await asyncio.to_thread(tree.write_file, content / "large.bin", 12 * MB)
    async with nodes.cluster(tmp_path / "nodes", 1) as cluster, nginx.origin(content, tmp_path / "nginx") as web:
        [node] = cluster.nodes
        task_id = await submit(node, web.url(file.name, "slow", rate=300_000))

        async def running() -> bool:
            [task] = await cluster.tasks([task_id])
            return bool(task["progress"] > 60)

        await until(running, "more is done than may be fetched twice", timeout=30)
        engine = await node.aria2c()
        engine.kill()
        [task] = await cluster.finished([task_id])
        await check_hash(cluster, task, file.sha256)
        assert task["attempt"] == 1
        assert task["failures"] == []
        assert (await node.aria2c()).pid != engine.pid
        assert await web.bytes_sent(f"/slow/{file.name}") <= file.size + 6 * MB, "it resumed"
