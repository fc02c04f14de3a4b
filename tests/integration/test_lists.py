"""What leads to several files, on a whole node: torrent, magnet link, Metalink document; all of it, or what was selected."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.support import nodes, torrent
from tests.support.nodes import Cluster
from tests.support.origin import serving
from tests.support.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SIZES = {"a.bin": 700_001, "b.bin": 300_007, "c.bin": 900_011}
"""No file ends with a piece: the pieces at its ends are those of its neighbours, too."""


def make(folder: Path) -> dict[str, bytes]:
    """The content by file name."""
    folder.mkdir()
    made = {name: hashlib.shake_128(name.encode()).digest(size) for name, size in SIZES.items()}
    for name, body in made.items():
        (folder / name).write_bytes(body)
    return made


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below, by the end of its path."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def submit(cluster: Cluster, **task: Any) -> str:
    status, made = await cluster.nodes[0].post("/tasks", {"force": True, **task})
    assert status == 201, made
    return str(made["id"])


async def test_what_was_selected_of_a_torrent_is_there_and_is_seeded_no_more(tmp_path: Path) -> None:
    """By its URL and as a magnet link, all of it and a part of it. Nothing of what was not selected is left behind."""
    made = await asyncio.to_thread(make, tmp_path / "content")
    async with (
        nodes.cluster(tmp_path / "nodes", 1) as cluster,
        torrent.swarm(tmp_path / "content", tmp_path / "swarm") as swarm,
    ):
        [node] = cluster.nodes
        some = {"select-file": "2"}
        for dir, url, options, wanted in (
            ("all", swarm.url, {}, made),
            ("some", swarm.url, some, {"b.bin": made["b.bin"]}),
            ("magnet", swarm.torrent.magnet, some, {"b.bin": made["b.bin"]}),
        ):
            # One after the other: the engine refuses a torrent that it has already.
            task_id = await submit(cluster, url=url, dir=dir, options=options)
            [task] = await cluster.finished([task_id])
            assert task["status"] == "completed", task["failures"]
            assert await asyncio.to_thread(files_in, node.downloads / dir) == wanted, dir
            assert sorted(Path(file["path"]).name for file in task["files"]) == sorted(wanted), dir
            assert task["total_bytes"] == sum(map(len, wanted.values())), dir
        ours = [told for told in swarm.tracker.announces if told.event == "stopped"]
        assert len(ours) >= 3, "it told the tracker each time that it goes"

        async def cleared() -> bool:
            return not list((node.downloads / ".ariacluster").glob("*/*"))

        await until(cleared, "nothing is left in staging")


async def test_all_files_of_a_metalink_are_one_task(tmp_path: Path) -> None:
    """Each by its checksum: what is not right fails the task, and is not published."""
    async with nodes.cluster(tmp_path / "nodes", 1) as cluster, serving() as origin:
        [node] = cluster.nodes

        def document(path: str, digest: str) -> str:
            sums = {"a.bin": origin.sha256("/bytes/400000/a"), "b.bin": digest}
            entries = "".join(
                f"<file name='{name}'><hash type='sha-256'>{sums[name]}</hash>"
                f"<url>{origin.url(f'/bytes/400000/{name[0]}')}</url></file>"
                for name in sums
            )
            text = f"<?xml version='1.0'?><metalink xmlns='urn:ietf:params:xml:ns:metalink'>{entries}</metalink>"
            return origin.put(path, text.encode(), "application/metalink4+xml")

        right = document("/right.meta4", origin.sha256("/bytes/400000/b"))
        wrong = document("/wrong.meta4", "0" * 64)
        good = await submit(cluster, url=right, dir="good")
        bad = await submit(cluster, url=wrong, dir="bad", max_attempts=2)
        done, failed = sorted(await cluster.finished([good, bad]), key=lambda task: bool(task["id"] == bad))
        assert (done["status"], failed["status"]) == ("completed", "failed")
        whole = {"a.bin": origin.body("/bytes/400000/a"), "b.bin": origin.body("/bytes/400000/b")}
        assert await asyncio.to_thread(files_in, node.downloads / "good") == whole
        assert failed["failures"][-1]["error_code"] == 32, failed["failures"]
        assert not await asyncio.to_thread((node.downloads / "bad").exists)
