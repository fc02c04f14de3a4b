"""A node that is told to stop, at whatever moment, and by whom."""

import asyncio
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from tests.support import nodes, origin
from tests.support.nodes import Node
from tests.support.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SIZE = 3_000_000


async def test_a_leader_that_stops_leaves_another_one_behind_and_its_half_done_download_whole(tmp_path: Path) -> None:
    async with origin.serving() as site, nodes.cluster(tmp_path) as cluster:
        leader = await cluster.leader()
        url = site.url(f"/bytes/{SIZE}/half", rate=700_000)
        status, task = await leader.post("/tasks", {"url": url, "node": leader.name})
        assert status == 201, task
        await until(lambda: site.served[f"/bytes/{SIZE}/half"] > SIZE / 3, "a third is there", timeout=30)

        leader.process.signal(SIGTERM)
        assert await leader.process.wait(timeout=20) == 0
        for other in cluster.living():
            status, now = await other.get("/status")
            led_by = now["cluster"]["leader"]
            assert led_by and led_by["name"] != leader.name, "nobody has to wait for an election"
        assert await leader.process.family() == []
        text = await leader.process.text()
        assert "event=stopping" in text and "event=stopped" in text

        site.throttle(f"/bytes/{SIZE}/half", None)
        await leader.start("--no-mdns")
        await leader.ready()
        [done] = await cluster.finished([task["id"]])
        assert (done["status"], done["attempt"]) == ("completed", 1), done["failures"]
        assert site.served[f"/bytes/{SIZE}/half"] < SIZE * 1.5, "it went on from its bytes"


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
async def test_told_again_and_again_it_still_ends_in_order(number: Signals, tmp_path: Path) -> None:
    async with nodes.cluster(tmp_path, 1) as cluster:
        [node] = cluster.nodes
        while node.process.running:
            node.process.signal(number)
            await asyncio.sleep(0.005)
        assert node.process.returncode == 0, await node.process.text()
        assert "event=stopped" in await node.process.text()
        assert await node.process.family() == []


@pytest.mark.parametrize("moment", ["event=starting", 'event="engine started"', "event=founding"])
async def test_told_while_it_starts_it_ends_in_order(moment: str, tmp_path: Path) -> None:
    node = Node("early", tmp_path, "stopping")
    await node.start("--no-mdns")
    await node.process.wait_for_text(moment, timeout=20)
    node.process.signal(SIGINT)
    assert await node.process.wait(timeout=20) == 0
    text = await node.process.text()
    assert "Traceback" not in text and "event=stopped" in text
    assert await node.process.family() == []
